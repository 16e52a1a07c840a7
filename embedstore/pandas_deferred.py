"""Keeps pandas out of the process of a command or a worker until something asks for a data frame.

pyarrow imports pandas the first time that it converts Python values, only to see whether they are of pandas: 0.2 s of
CPU and 35 MB, which is a third of `embedstore ls`. Here it asks while pandas cannot be found, and remembers that.
`to_pandas` still imports pandas. Neither hands an object of pandas to pyarrow, which would be taken for a plain
sequence; the library itself, in whose process a user's data frames may be, is left as it is.
"""

import sys
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType


class _PandasHidden:
    """A finder that says that there is no pandas."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> None:
        if name == "pandas":
            raise ModuleNotFoundError("pandas is imported later", name=name)


class _AfterPyArrow:
    """A finder that lets pyarrow be imported as ever, then has it ask for pandas while that is hidden."""

    @classmethod
    def find_spec(cls, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name != "pyarrow":
            return None
        sys.meta_path.remove(cls)
        spec = find_spec(name)
        if spec is not None and spec.loader is not None and "pandas" not in sys.modules:
            run = spec.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                run(module)
                _ask_while_hidden(module)

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def _ask_while_hidden(pyarrow: ModuleType) -> None:
    sys.meta_path.insert(0, _PandasHidden)
    try:
        pyarrow.array([None])  # its C++ looks for pandas, and so does its Cython, here and not before:
        getattr(getattr(pyarrow.lib, "_pandas_api", None), "have_pandas", None)
    finally:
        sys.meta_path.remove(_PandasHidden)


def defer_pandas() -> None:
    """Keep pyarrow from importing pandas before `to_pandas`; call it before anything is converted to Arrow."""
    if "pyarrow" not in sys.modules:
        sys.meta_path.insert(0, _AfterPyArrow)
    elif "pandas" not in sys.modules:
        _ask_while_hidden(sys.modules["pyarrow"])
