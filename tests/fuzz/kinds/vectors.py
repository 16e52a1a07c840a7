"""Files of a vector, and arrays, that a search is asked for."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from hypothesis import strategies as st

from embedstore.search.queries.vector_file import vector_query
from tests.fuzz.kind import Kind
from tests.fuzz.mutations import as_json, changed_bytes, changed_tree

NUMBERS = [0.5, -1.25, 3.0]
DTYPES = ("f2", "f4", "f8", "i8", "u1", "c8", "?", "M8[s]", "U4", "S4", ">f4")


def _npy(dtype: str, shape: tuple[int, ...]) -> bytes:
    array = np.resize(np.array(NUMBERS), shape)
    np.save(file := io.BytesIO(), array.astype("i8").astype(dtype) if dtype in ("M8[s]", "u1") else array.astype(dtype))
    return file.getvalue()


ARRAYS = st.builds(_npy, st.sampled_from(DTYPES), st.sampled_from([(3,), (1, 3), (3, 1), (2, 3), (), (0,)]))
TEXTS = st.sampled_from([b"0.5,-1.25,3\n", b"0.5;-1.25;3", b"0.5\n-1.25\n3\n", b"a,b,c\n1,2,3\n", b"0,5;1,2;3,0"])


def _reader(suffix: str) -> Callable[[Path], Callable[[bytes], object]]:
    collection: Any = SimpleNamespace(dim=3, name="c")

    def reader(folder: Path) -> Callable[[bytes], object]:
        path = folder / f"vector{suffix}"

        def read(data: bytes) -> object:
            path.write_bytes(data)
            return vector_query(collection, path)

        return read

    return reader


KINDS = [
    Kind(name="vector-npy", inputs=ARRAYS | changed_bytes(ARRAYS), reader=_reader(".npy"), sample=400),
    Kind(name="vector-csv", inputs=changed_bytes(TEXTS), reader=_reader(".csv"), sample=400),
    Kind(
        name="vector-json",
        inputs=as_json(changed_tree(st.just(NUMBERS))) | changed_bytes(st.just(json.dumps(NUMBERS).encode())),
        reader=_reader(".json"),
        sample=400,
    ),
]
