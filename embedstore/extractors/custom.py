"""A user's own extractor, made by a function: `module:function`, `file.py:function`, or the name of an entry point.

The function is called with the configuration's `arch_args` and returns one of:

- an `Extractor`, which is used as it is;
- a `CustomNetwork`: a torch module with its preprocessing;
- a torch module, whose tile_px (and mean and std, unless it normalises by itself) come from the configuration.

Weights given beside it (`--weights FILE`) are loaded into the module, under the module's own names.
"""

import functools
import importlib
import importlib.metadata
import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import TYPE_CHECKING, Any

from embedstore.errors import ConfigError, UnknownExtractorError
from embedstore.extractors.config import DEFAULT_PRECISION, LIBRARIES

if TYPE_CHECKING:
    from torch import Tensor, nn

ENTRY_POINT_GROUP = "embedstore.extractors"


@dataclass(frozen=True, kw_only=True)
class CustomNetwork:
    """A user's own network; fields that are None come from the configuration, or else have a neutral value.

    Attributes:
        module: Takes (n, 3, h, w) float, RGB on 0..1 after mean and std.
        embed: Computes (n, dim) from the same input, where that is not the module's own call.
        name: Its name in the store; the function's name by default.
        tile_px: Edge of its tiles, pixels.
        mpp: Their resolution, micrometres per pixel.
        mean, std: Of RGB on 0..1; 0 and 1 by default, which leaves pixels on 0..1.
        pooling: As in `ExtractorConfig`.
        precision: Of the forward pass on CUDA.
        embed_text: Embeds texts into the same space: a list of n texts to (n, dim), an array or a tensor.
        text_module: The network behind `embed_text`, whose tensors its digest covers.
        logit_scale: What cosines of tiles and texts are multiplied by to be logits, for zero-shot classification.
    """

    module: "nn.Module"
    embed: "Callable[[Tensor], Tensor] | None" = None
    name: str | None = None
    tile_px: int | None = None
    mpp: float | None = None
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    pooling: str = "network"
    precision: str = DEFAULT_PRECISION
    licence: str | None = None
    embed_text: "Callable[[Sequence[str]], Any] | None" = None
    text_module: "nn.Module | None" = None
    logit_scale: float | None = None


def is_custom(ref: str) -> bool:
    """Whether a reference names a user's function."""
    return (":" in ref and not ref.startswith(LIBRARIES)) or ref in entry_points()


@functools.cache
def entry_points() -> Mapping[str, importlib.metadata.EntryPoint]:
    """Extractors that installed packages offer, by name; looked for once, which takes 5 ms."""
    return {point.name: point for point in importlib.metadata.entry_points(group=ENTRY_POINT_GROUP)}


def find_function(ref: str, *, noun: str = "extractor") -> Callable[..., Any]:
    """The function behind `module:function`, `file.py:function` or an entry point's name.

    Raises:
        UnknownExtractorError: no such module, file or function.
    """
    if ":" not in ref:
        return _callable(entry_points()[ref].load(), ref, noun)
    source, _, attribute = ref.rpartition(":")
    module = _module_of_file(Path(source), ref, noun) if source.endswith(".py") else _module(source, ref, noun)
    if not hasattr(module, attribute):
        raise UnknownExtractorError(f"{noun} {ref!r}: {source} has no {attribute!r}")
    return _callable(getattr(module, attribute), ref, noun)


def _callable(attribute: object, ref: str, noun: str) -> Callable[..., Any]:
    if not callable(attribute):
        raise UnknownExtractorError(f"{noun} {ref!r} is a {type(attribute).__name__}; expected a function")
    return attribute


def _module(name: str, ref: str, noun: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise  # the user's module exists; something that it imports does not
        raise UnknownExtractorError(
            f"{noun} {ref!r}: there is no module {name!r}; install it, put its folder on PYTHONPATH, "
            "or write path/to/file.py:function"
        ) from error


class _UncachedLoader(SourceFileLoader):
    """Compiles the file each time: Python's bytecode cache misses an edit within a second to the same size."""

    def get_code(self, fullname: str) -> CodeType:
        return self.source_to_code(self.get_data(self.path), self.path)


def _module_of_file(path: Path, ref: str, noun: str) -> ModuleType:
    if not path.is_file():
        raise UnknownExtractorError(f"{noun} {ref!r}: there is no file {path}")
    name = f"embedstore_custom_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path, loader=_UncachedLoader(name, str(path)))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look their module up by name
    spec.loader.exec_module(module)
    return module


def call_function(ref: str, arch_args: Mapping[str, Any], *, noun: str = "extractor") -> object:
    """The result of the user's function.

    Raises:
        ConfigError: the function does not take these arguments.
    """
    function = find_function(ref, noun=noun)
    try:
        return function(**arch_args)
    except TypeError as error:
        if error.__traceback__ is None or error.__traceback__.tb_next is not None:
            raise  # raised inside the function, not by the call
        raise ConfigError(f"{noun} {ref!r} does not take the arguments {dict(arch_args)}: {error}") from error
