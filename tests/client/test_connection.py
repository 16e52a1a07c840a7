"""The connection to a service: what is sent again, what errors become, and what is refused or warned about."""

import threading

import httpx2
import numpy as np
import pyarrow as pa
import pytest

import embedstore
from embedstore.client import connection as connections
from embedstore.client.connection import Connection, path
from embedstore.client.store import connected
from embedstore.errors import (
    ConfigError,
    EmbedStoreError,
    HeadNotFoundError,
    NotAuthenticatedError,
    ServiceNotReachableError,
    VersionNotFoundError,
)
from embedstore.service.answers import ARROW
from embedstore.version import __version__
from tests.client.served import served
from tests.client.served_by import URL, connect_by


def answering(*answers: httpx2.Response | Exception) -> tuple[Connection, list[httpx2.Request]]:
    """A connection that gives these answers, one after the other, and the requests that it is sent."""
    left, requests = iter(answers), []

    def answer(request: httpx2.Request) -> httpx2.Response:
        requests.append(request)
        given = next(left)
        if isinstance(given, Exception):
            raise given
        return given

    return Connection(URL, token="embedstore_t", transport=httpx2.MockTransport(answer)), requests


def table(rows: list[int], **facts: object) -> httpx2.Response:
    """A page as the service answers it."""
    page = pa.table({"row": pa.array(rows, pa.int64())}).replace_schema_metadata({k: str(v) for k, v in facts.items()})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, page.schema) as writer:
        writer.write_table(page)
    return httpx2.Response(200, content=sink.getvalue().to_pybytes(), headers={"Content-Type": ARROW})


def failure(status: int, kind: str, message: str) -> httpx2.Response:
    return httpx2.Response(status, json={"error": {"type": kind, "message": message}})


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "PAUSES_S", (0.0, 0.0, 0.0))


LOST = httpx2.ReadError("connection reset")


def test_a_read_is_sent_again_where_the_connection_fails():
    asked, requests = answering(LOST, httpx2.ConnectError("refused"), httpx2.Response(200, json=[1]))
    assert asked.get("/api/heads", task=None, limit=3) == [1]
    assert len(requests) == 3 and str(requests[2].url) == f"{URL}/api/heads?limit=3"
    assert requests[0].headers["authorization"] == "Bearer embedstore_t"
    for give_up in ([LOST] * 4, [httpx2.ReadTimeout("slow")]):
        asked, requests = answering(*give_up)
        with pytest.raises(ServiceNotReachableError, match=rf"service at {URL} .*`embedstore serve`"):
            asked.get("/api/heads")
        assert len(requests) == len(give_up)


def test_what_changes_the_store_is_sent_once():
    for send in (lambda c: c.post("/api/heads", {}), lambda c: c.delete("/api/heads/a")):
        asked, requests = answering(LOST)
        with pytest.raises(ServiceNotReachableError):
            send(asked)
        assert len(requests) == 1
    asked, requests = answering(LOST, httpx2.Response(200, json={}))
    assert asked.post("/api/collections/c/query", {}, reads=True) == {} and len(requests) == 2


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (failure(404, "HeadNotFoundError", "the store has no head 'a'"), HeadNotFoundError, "^the store has no"),
        (failure(401, "NotAuthenticatedError", "the token is unknown"), NotAuthenticatedError, "unknown"),
        (failure(422, "ValidationError", "query.k: too large"), ConfigError, "query.k"),
        (failure(400, "OfTheFutureError", "no such luck"), EmbedStoreError, "^no such luck$"),
        (failure(500, "InternalError", "the service failed; its log tells more"), EmbedStoreError, "its log"),
        (failure(404, "HTTPError", "Not Found"), EmbedStoreError, f"does not know GET /api/x; .* {__version__}"),
        (httpx2.Response(502, text="<html>Bad gateway</html>"), ServiceNotReachableError, "status 502"),
        (httpx2.Response(302, headers={"Location": "https://login"}), ServiceNotReachableError, "status 302"),
        (httpx2.Response(200, text="<html>Log in</html>"), ServiceNotReachableError, "not JSON"),
    ],
)  # fmt: skip
def test_a_failure_becomes_the_error_that_it_names(answer: httpx2.Response, kind: type, words: str):
    asked, _ = answering(answer)
    with pytest.raises(EmbedStoreError, match=words) as raised:
        asked.get("/api/x")
    assert type(raised.value) is kind


def test_what_cannot_be_sent_is_told_in_a_sentence():
    asked, requests = answering(*[httpx2.Response(200, json={})] * 3)
    for arguments in ({"where": "x" * 70_000}, {"where": "\ud800"}):
        with pytest.raises(ConfigError, match="GET /api/x cannot be asked with these arguments"):
            asked.get("/api/x", **arguments)
    for body in (float("nan"), object(), {"a": {1, 2}}):
        with pytest.raises(ConfigError, match="cannot be sent as JSON"):
            asked.post("/api/x", body)
    assert not requests
    asked.post("/api/x", {"a": np.float32(0.5), "b": np.arange(2)})
    assert requests[0].content == b'{"a": 0.5, "b": [0, 1]}'
    assert path("a", "\ud800") == "/api/a/%3F"


def test_each_part_of_a_path_is_quoted():
    asked, requests = answering(httpx2.Response(200, json={}))
    asked.get(path("slides", "sub/a b%2F?#ü.svs", "thumbnail"))
    assert requests[0].url.raw_path == b"/api/slides/sub%2Fa%20b%252F%3F%23%C3%BC.svs/thumbnail"


def test_pages_follow_one_another_at_one_version():
    asked, requests = answering(table([0, 1], version=7, next=2), table([2], version=7, next=9), table([3], version=7))
    assert asked.table("/api/c/tiles", where="x > 0")["row"].to_pylist() == [0, 1, 2, 3]
    assert [dict(request.url.params) for request in requests] == [
        {"where": "x > 0"},
        {"where": "x > 0", "version": "7", "start": "2"},
        {"where": "x > 0", "version": "7", "start": "9"},
    ]


def test_pages_by_offset_of_a_table_that_changed_are_read_again():
    changed = [table([0, 1], version=1, total=3), table([9], version=2, total=3)]
    asked, requests = answering(*changed, table([0, 1], version=2, total=3), table([2], version=2, total=3))
    assert asked.table("/api/slides")["row"].to_pylist() == [0, 1, 2]
    assert [request.url.params.get("offset") for request in requests] == [None, "2", None, "2"]
    asked, _ = answering(*(changed * connections.ROUNDS))
    with pytest.raises(VersionNotFoundError, match="/api/slides changes all the time"):
        asked.table("/api/slides")


def test_pages_of_a_version_that_is_gone_are_read_again():
    gone = failure(409, "VersionNotFoundError", "collection 'c' has no version 7 any more")
    asked, _ = answering(table([0], version=7, next=1), gone, table([5], version=8))
    assert asked.table("/api/c/tiles")["row"].to_pylist() == [5]


def test_a_table_ends_with_the_rows_that_were_asked_for():
    asked, requests = answering(table([0, 1], version=1, next=2), table([2, 3], version=1, next=4))
    assert asked.table("/api/c/tiles", most=3)["row"].to_pylist() == [0, 1, 2]
    assert [request.url.params["limit"] for request in requests] == ["3", "1"]
    cut_off = httpx2.Response(200, content=table([0]).content[:40])
    with pytest.raises(ServiceNotReachableError, match="no table, or a part of one"):
        answering(cut_off)[0].table("/api/c/tiles")


@pytest.mark.parametrize("url", ["", "store", "/data/store", "ftp://a", "http://", "http://a:0x", "http://a/?b", None])
def test_what_is_no_url_of_a_service_is_refused(url: str):
    with pytest.raises(ConfigError, match=r"is not the URL of a service; .* embedstore\.open"):
        embedstore.connect(url)


def test_secrets_do_not_go_where_they_can_be_read(recwarn: pytest.WarningsRecorder):
    with pytest.raises(ConfigError, match="holds a name or a password") as refused:
        Connection("https://ann:secret@lab.example")
    assert "secret" not in str(refused.value)
    for token in ("", "a b", "ü", "a\nb"):
        with pytest.raises(ConfigError, match="the token"):
            Connection(URL, token=token)
    for url in ("https://lab.example", URL, "http://localhost:1", "http://[::1]:1"):
        Connection(url, token="t")
    assert not recwarn
    with pytest.warns(UserWarning, match="http://lab.example:8765 is not encrypted: .* token"):
        Connection("http://lab.example:8765/api/", token="t")


def test_a_service_of_another_version_is_warned_about():
    asked, _ = answering(httpx2.Response(200, json={"version": "99.1.2"}))
    with pytest.warns(UserWarning, match=rf"served by embedstore 99.1.2, and this is {__version__}"):
        assert connected(asked).uri == URL


def test_a_store_is_opened_with_open_and_a_service_with_connect():
    for call in (embedstore.open, embedstore.create):
        with pytest.raises(ConfigError, match=r"embedstore\.connect\('http://127.0.0.1:8765'\)"):
            call("http://127.0.0.1:8765")


def test_no_service():
    asked, _ = answering(*[httpx2.ConnectError("[Errno 111] Connection refused")] * 4)
    with pytest.raises(ServiceNotReachableError, match=rf"{URL} cannot be reached .*refused.* `embedstore serve` runs"):
        connected(asked)


def test_many_threads_share_the_connections(remote: embedstore.RemoteStore):
    expected, found = remote.slides.to_pylist(), []
    threads = [threading.Thread(target=lambda: found.append(remote.slides.to_pylist())) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 16


@pytest.mark.slow
def test_a_service_that_comes_back_is_asked_again(toy_store):
    with served(toy_store.uri) as socket:
        store = connect_by(socket)
        assert len(store.slides) == 3
    with served(toy_store.uri, at=socket):  # the connection that was kept is gone
        assert len(store.slides) == 3
    store.close()
