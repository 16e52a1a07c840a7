"""A file of weights: its kind, told by its first bytes and not by its name, and the tensors that it holds."""

import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from embedstore.errors import WeightsError

State = dict[str, Tensor]

TORCH_ZIP, TORCH_PICKLE = b"PK\x03\x04", b"\x80"
HEAD_BYTES = 512
#: Of a safetensors header; the library's own limit.
MOST_HEADER_BYTES = 100_000_000
EXPECTED = "expected .safetensors, or a torch file (.pt, .pth, .bin) that holds tensors"
#: Files that are mistaken for weights: how they begin, what they are, and what to do.
OTHERS: tuple[tuple[re.Pattern[bytes], str], ...] = (
    (
        re.compile(rb"version https://git-lfs"),
        "a Git LFS pointer, not the weights it stands for; run `git lfs pull` there",
    ),
    (
        re.compile(rb"(?i)\s*<(!doctype|html|\?xml|head)"),
        "a web page, such as a login or an error; download the file itself",
    ),
    (re.compile(rb"\s*[{\[]"), "JSON, such as a configuration or an index of parts; give the file of the tensors"),
    (re.compile(rb"\x89HDF"), "HDF5, as of Keras; convert it to the names of a torch network"),
    (re.compile(rb"\x08.{0,40}(pytorch|onnx)", re.DOTALL), "ONNX; export the torch network's state dict"),
    (re.compile(rb"\x1f\x8b|BZh|\xfd7zXZ|Rar!|7z\xbc\xaf"), "a compressed archive; unpack it"),
    (re.compile(rb"\x93NUMPY"), "an array of NumPy"),
    (re.compile(rb"GGUF"), "GGUF, a quantised language model"),
)


def read_weights(path: Path) -> State:
    """The tensors of a file by their names; those in nested mappings have the names of these before theirs.

    Raises:
        WeightsError: no such file, or a file of another kind, or one that holds Python objects besides tensors.
    """
    if not path.is_file():
        raise WeightsError(f"there is no weights file {path}; {EXPECTED}")
    try:
        with open(path, "rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError as error:
        raise WeightsError(f"weights file {path} cannot be read: {error.strerror or error}") from error
    if _is_safetensors(head, path.stat().st_size):
        return _read_safetensors(path)
    if head.startswith((TORCH_ZIP, TORCH_PICKLE)):
        return _read_torch(path)
    kind = next((what for begins, what in OTHERS if begins.match(head)), None)
    if kind is None:
        kind = "empty (0 bytes); was a copy interrupted?" if not head else "of no kind that is known here"
    raise WeightsError(f"weights file {path} is {kind}; {EXPECTED}")


def _is_safetensors(head: bytes, size: int) -> bool:
    """Whether a file begins with the length of a JSON header, and that."""
    length = int.from_bytes(head[:8], "little")
    return head[8:9] == b"{" and 2 <= length <= min(MOST_HEADER_BYTES, size)


def _read_safetensors(path: Path) -> State:
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except Exception as error:  # its own class is no subclass of any other
        raise WeightsError(
            f"weights file {path} is a safetensors file that is cut short or damaged ({error}); copy it again"
        ) from error


def _read_torch(path: Path) -> State:
    try:
        with open(path, "rb") as file, warnings.catch_warnings():  # by a path torch goes by its suffix
            warnings.simplefilter("ignore")  # of pickles that torch did not write
            loaded = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        unsafe = re.search(r"GLOBAL (\S+)", str(error))
        if unsafe or any(words in str(error) for words in ("TorchScript", "unrecognized function", "Can only")):
            what = f" ({unsafe[1]})" if unsafe else ""
            raise WeightsError(
                f"weights file {path} holds Python objects besides tensors{what}, and reading such could run code; "
                "embedstore reads tensors only: where you trust the file, load it with torch yourself, and save the "
                "network's state_dict() with safetensors.torch.save_file"
            ) from error
        raise WeightsError(
            f"weights file {path} is cut short or damaged, or a pickle that torch.save did not write; {EXPECTED}"
        ) from error
    state = dict(_tensors(loaded, ""))
    if not state:
        raise WeightsError(
            f"weights file {path} holds no state dict (a mapping of names to tensors), but {_described(loaded)}"
        )
    return state


def _tensors(node: Any, name: str) -> Iterator[tuple[str, Tensor]]:
    if isinstance(node, Tensor) and name:
        yield name, node
    elif isinstance(node, Mapping):
        for key, value in node.items():
            yield from _tensors(value, f"{name}.{key}" if name else str(key))


def _described(loaded: Any) -> str:
    if isinstance(loaded, Mapping):
        return f"a mapping with {', '.join(map(str, list(loaded)[:8])) or 'nothing'}"
    return f"a {type(loaded).__name__}"
