"""Heads without a store: what they import besides JAX may be absent on a bare machine, and is not used here."""

import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any, ClassVar

NAMES = ("lance", "shapely", "sqlglot", "platformdirs", "pydantic", "openslide", "imagecodecs", "faiss")


class _Attributes(type):
    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Absent


class _Absent(metaclass=_Attributes):
    """Stands for every name of a module that is absent."""

    def __class_getitem__(cls, item: object) -> Any:
        return cls


class _AbsentModule(ModuleType):
    __path__: ClassVar[list[str]] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Absent


class _Finder(MetaPathFinder, Loader):
    def __init__(self, names: Sequence[str]) -> None:
        self._names = names

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        return ModuleSpec(name, self, is_package=True) if name.split(".")[0] in self._names else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _AbsentModule(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        pass


def stand_in_for_absent_modules() -> None:
    """Let `heads` be imported where the store's libraries are not installed."""
    absent = [name for name in NAMES if name not in sys.modules and PathFinder.find_spec(name) is None]
    if absent and not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder(absent))
