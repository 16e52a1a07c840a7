"""Bodies of requests: of the wrong type, cut, nested, with numbers that JSON has not, and forms of several parts."""

import io
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.ipc
from hypothesis import strategies as st
from PIL import Image

from tests.export.prediction_scene import DIM, grid, make_store
from tests.fuzz.kind import Kind
from tests.fuzz.mutations import VALUES, as_json, changed_bytes, changed_tree
from tests.service.clients import client_of

ARROW, JSON = "application/vnd.apache.arrow.stream", "application/json"
PLACE = {"slide_id": "a.svs", "x": 10, "y": 10}
BODIES: dict[str, Any] = {
    "collections/toy/search": {"query": PLACE, "more_like": [PLACE], "k": 3, "where": "cohort = 'A'"},
    "collections/toy/query": {"query": {"vector": [0.1, 0.2, 0.3, 0.4]}},
    "collections/toy/embed-text": {"texts": ["dense lymphocytes"]},
    "labels/t/add": {"labels": [{"slide_id": "a.svs", "x": 10, "y": 10, "label": "yes"}]},
    "labels/t/withdraw": {"places": [{"slide_id": "a.svs"}], "keys": ["a"]},
    "labels/t/undo": {"change": "0123456789abcdef"},
    "labels/t/remove": {"author": "ann"},
    "exports": {"format": "csv", "slides": ["../a"], "where": "x > 1", "settings": {"merge": True}},
    "heads": {"tasks": ["t"], "config": {"model": "linear", "steps": 1}},
    "collections/toy/suggest": {"task": "t", "config": {"number": 3}},
    "collections/toy/check": {"duplicates": True},
    "remove": {"slides": ["nobody"], "patients": []},
}  # fmt: skip
FILES = ("labels/t/import?name=a.csv", "labels/t/import?name=a.geojson", "labels/t/import?name=..%2Fa.xml",
         "labels/t/import?name=a.parquet", "labels/t/import?name=a.xlsx")  # fmt: skip
TYPES = (JSON, ARROW, "text/csv", "image/png", "application/octet-stream", "multipart/form-data; boundary=x",
         "application/x-www-form-urlencoded", "text/plain; charset=utf-7", "application/json; charset=utf-16",
         "", "a/b")  # fmt: skip
HEADERS = (
    {}, {}, {}, {"Content-Length": "-1"}, {"Content-Length": "9" * 30}, {"Content-Length": "abc"},
    {"Content-Encoding": "gzip"}, {"Transfer-Encoding": "chunked"}, {"Accept": ARROW}, {"Range": "bytes=0-1,5-"},
    {"X-Remote-User": "ann"}, {"X-Forwarded-For": "1.2.3.4"}, {"Authorization": "Bearer embedstore_" + "0" * 64},
    {"Authorization": "Basic \xff"}, {"Origin": "null"}, {"Host": "elsewhere.example"}, {"Cookie": "a=" + "b" * 9000},
)  # fmt: skip
NESTED = st.builds(
    lambda opened, deep, inner: (opened * deep + inner).encode(),
    st.sampled_from(["[", '{"query":', '{"a":[', "[{"]), st.sampled_from([10, 500, 20_000, 200_000]),
    st.sampled_from(["", "1", "]" * 100]),
)  # fmt: skip
NOT_JSON = st.sampled_from([
    b"", b"NaN", b"[NaN]", b'{"query": {"vector": [Infinity, -Infinity, NaN, 1e999]}}', b"\xff\xfe", b"null", b"1e400",
    b'{"query": {"vector": [' + b"1," * 40_000 + b"1]}}", b'{"k": ' + b"9" * 5000 + b"}", b'{"a": "\\ud800"}',
    b'--x\r\nContent-Disposition: form-data; name="file"; filename="../../a"\r\n\r\nabc\r\n--x--\r\n', b"{" * 10,
    b'{"query": {"slide_id": "a.svs"}, "query": 1}', b"a=1&b=2", b"\x1f\x8b\x08\x00", b"\x00" * 1000,
])  # fmt: skip


@cache
def _files() -> list[bytes]:
    table = pa.table({"vector": pa.array([[0.5] * DIM], pa.list_(pa.float32(), DIM))})
    with pa.ipc.new_stream(stream := io.BytesIO(), table.schema) as writer:
        writer.write_table(table)
    Image.fromarray(np.full((64, 64, 3), 200, np.uint8)).save(picture := io.BytesIO(), "PNG")
    return [
        stream.getvalue(), picture.getvalue(), b"slide_id,x,y,label\na.svs,1,2,yes\n",
        json.dumps({"type": "Point", "coordinates": [1, 2]}).encode(),
    ]  # fmt: skip


@st.composite
def _requests(draw: st.DrawFn) -> bytes:
    """A request as JSON: path, content type, headers, and its body as Latin-1."""
    path = draw(st.sampled_from([*BODIES, *FILES, "collections/toy/search-many", "collections/toy/embed"]))
    made = st.just(BODIES[path]) if path in BODIES else VALUES
    files = st.deferred(lambda: st.sampled_from(_files()))
    body = draw(st.one_of(
        as_json(changed_tree(made)), as_json(changed_tree(made)), changed_bytes(as_json(made) | files), NESTED, NOT_JSON
    ))  # fmt: skip
    own = JSON if path in BODIES else ARROW if path.endswith("many") else "application/octet-stream"
    kind = draw(st.sampled_from([own] * 6 + list(TYPES)))
    request = {"path": path, "type": kind, "headers": draw(st.sampled_from(HEADERS)), "body": body.decode("latin-1")}
    return json.dumps(request).encode()


def _reader(folder: Path) -> Callable[[bytes], object]:
    store = make_store(folder, {"a.svs": grid(4, 3), "b.svs": grid(2, 2)})
    client = client_of(store, insecure=True)
    client.__enter__()

    def ask(data: bytes) -> object:
        asked = json.loads(data)
        headers = {name: value.encode("latin-1") for name, value in asked["headers"].items()}
        if asked["type"]:
            headers["Content-Type"] = asked["type"].encode()
        answer = client.post(f"/api/{asked['path']}", content=asked["body"].encode("latin-1"), headers=headers)
        assert answer.status_code < 500 or answer.status_code == 503, (answer.status_code, answer.text[:200])
        if answer.status_code >= 400:
            error = answer.json()["error"]
            assert error["type"] and error["message"].strip() and "\n" not in error["message"], error
            assert "Traceback" not in error["message"] and str(folder) not in answer.text, error
        return answer

    ask.close = lambda: client.__exit__(None, None, None)  # type: ignore[attr-defined]
    return ask


KINDS = [Kind(name="http", inputs=_requests(), reader=_reader, sample=100)]
