"""Files that would run code if they were loaded without care, and headers of safetensors that lie."""

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st

from embedstore.extractors.networks.weights import fit_weights
from embedstore.extractors.networks.weights_file import read_weights
from embedstore.query_vector import given_vector
from tests.fuzz.kind import Kind
from tests.fuzz.mutations import changed_bytes, changed_tree

#: What the code in the files would write into the folder that it is run in.
SENTINEL = "code-was-run"


class _Runs:
    """Pickled, it is a call that happens when it is loaded."""

    def __init__(self, how: int):
        self._how = how

    def __reduce__(self) -> tuple[Any, ...]:
        ways: list[tuple[Any, ...]] = [
            (open, (SENTINEL, "w")), (exec, (f"open({SENTINEL!r}, 'w')",)), (eval, (f"open({SENTINEL!r}, 'w')",)),
            (Path(SENTINEL).touch, ()), (np.save, (SENTINEL, [1])), (torch.save, ([1], SENTINEL)),
        ]  # fmt: skip
        return ways[self._how]


@cache
def _hostile() -> list[bytes]:
    tensor = torch.ones(2)
    made = []
    for how in range(6):
        for state in ({"weight": tensor, "x": _Runs(how)}, _Runs(how), {"state_dict": {"weight": _Runs(how)}}):
            for new in (True, False):
                torch.save(state, file := io.BytesIO(), _use_new_zipfile_serialization=new)
                made.append(_timeless(file.getvalue()) if new else file.getvalue())
        made += [pickle.dumps(_Runs(how), protocol=protocol) for protocol in (0, 2, 4)]
        np.save(file := io.BytesIO(), np.array([_Runs(how), 1.0, 2.0], object), allow_pickle=True)
        made.append(file.getvalue())
        np.savez(file := io.BytesIO(), x=np.array([_Runs(how)], object))
        made.append(_timeless(file.getvalue()))
    return made


def _timeless(archive: bytes) -> bytes:
    """An archive without the time of day, which would make the inputs of a seed differ."""
    with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(out := io.BytesIO(), "w") as new:
        for name in old.namelist():
            new.writestr(zipfile.ZipInfo(name), old.read(name))
    return out.getvalue()


def _reader(folder: Path) -> Callable[[bytes], object]:
    def read(data: bytes) -> object:
        path = folder / ("vector.npy" if data.startswith(b"\x93NUMPY") else "weights.pt")
        path.write_bytes(data)
        try:
            return given_vector(path) if path.suffix == ".npy" else read_weights(path)
        finally:
            assert not Path(SENTINEL).exists(), "the code of the file was run"

    return read


HEADER: dict[str, Any] = {
    "weight": {"dtype": "F32", "shape": [3, 2], "data_offsets": [0, 24]},
    "bias": {"dtype": "F32", "shape": [3], "data_offsets": [24, 36]},
    "__metadata__": {"format": "pt"},
}
LYING = (0, -1, 1 << 31, 1 << 40, 1 << 63, (1 << 64) - 1, 10**30)


@st.composite
def _safetensors(draw: st.DrawFn) -> bytes:
    """A file whose header has other shapes, types and places, and says another length of itself."""
    tree = draw(changed_tree(st.just(HEADER)))
    text = json.dumps(tree)
    for _ in range(draw(st.integers(0, 2))):
        number = draw(st.sampled_from(["3", "2", "24", "36", "0"]))
        text = text.replace(number, str(draw(st.sampled_from(LYING))), 1)
    body = text.encode("utf-8", "replace")
    length = draw(st.sampled_from([len(body)] * 6 + [len(body) + 1, 2, 1 << 20, 1 << 40, (1 << 64) - 1]))
    return length.to_bytes(8, "little") + body + bytes(draw(st.sampled_from([36, 36, 0, 35, 1000])))


def _fitted(folder: Path) -> Callable[[bytes], object]:
    def read(data: bytes) -> object:
        (folder / "weights").write_bytes(data)
        state = read_weights(folder / "weights")
        return fit_weights(torch.nn.Linear(2, 3), state, weights_format="exact", source="weights")

    return read


CODE = st.deferred(lambda: st.sampled_from(_hostile()))
KINDS = [
    Kind(name="code", inputs=CODE | changed_bytes(CODE), reader=_reader),
    Kind(name="safetensors", inputs=_safetensors(), reader=_fitted, sample=400),
]
