"""What a web page of others makes a browser send is refused; and every answer tells the browser what it may do."""

import json
import socket

import pytest
from starlette.testclient import TestClient

from embedstore.store import Store
from tests.service.clients import client_of

SEARCH = "/api/collections/toy/search"
BODY = json.dumps({"query": {"vector": [1, 0, 0, 0]}, "k": 1})
JSON = {"Content-Type": "application/json"}
ORIGIN = "https://viewer.example"


@pytest.fixture(scope="module")
def lab(toy_store: Store) -> TestClient:
    return client_of(toy_store, allow_host=("Slides.example",), allow_origin=(ORIGIN,))


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1:8765", "localhost:1", "LOCALHOST", "[::1]:8765", "192.168.7.7", "slides.example:443", "a.localhost",
     socket.gethostname()],
)  # fmt: skip
def test_service_is_asked_by_its_names_and_by_addresses(lab: TestClient, host: str):
    assert lab.get("/api/slides", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8765", "", "127.0.0.1.evil.example", "localhost.evil"])
def test_name_that_was_made_to_point_here_is_refused(lab: TestClient, host: str):
    answer = lab.get("/api/slides", headers={"Host": host})
    assert answer.status_code == 403 and "--allow-host" in answer.json()["error"]["message"]
    assert lab.get("/health", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),  # a program
        ({"Sec-Fetch-Site": "same-origin", "Origin": "http://127.0.0.1:8765"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Origin": "http://127.0.0.1:8765"}, 200),
        ({"Origin": "https://slides.example"}, 200),
        ({"Origin": ORIGIN, "Sec-Fetch-Site": "cross-site"}, 200),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1:9999"}, 403),
        ({"Origin": "http://localhost:3000"}, 403),
        ({"Origin": "https://viewer.example.evil"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site", "Origin": "http://127.0.0.1:8765"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}, 403),
        ({"Content-Type": "text/plain"}, 403),
        ({"Content-Type": "multipart/form-data; boundary=x"}, 403),
        ({"Content-Type": "Application/X-WWW-form-urlencoded"}, 403),
    ],
)
def test_change_comes_from_a_program_or_from_a_page_of_ours(lab: TestClient, headers: dict[str, str], status: int):
    assert lab.post(SEARCH, content=BODY, headers=JSON | headers).status_code == status


def test_page_of_others_reads_nothing_but_may_link_here(lab: TestClient):
    across = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}
    assert lab.get("/api/slides", headers=across).status_code == 403
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert lab.get("/api/slides", headers=link).status_code == 200
    assert lab.get("/api/slides", headers=link | {"Sec-Fetch-Dest": "iframe"}).status_code == 403


def test_other_origins_are_told_to_the_browser_only_where_they_are_allowed(lab: TestClient, client: TestClient):
    ask = {"Origin": ORIGIN, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    allowed = lab.options(SEARCH, headers=ask)
    assert allowed.status_code == 200 and allowed.headers["access-control-allow-origin"] == ORIGIN
    assert "access-control-allow-credentials" not in allowed.headers
    for response in (lab.options(SEARCH, headers=ask | {"Origin": "https://evil.example"}), client.get("/api/slides")):
        assert "access-control-allow-origin" not in response.headers
    assert client.options(SEARCH, headers=ask).status_code == 405


@pytest.mark.parametrize("path", ["/health", "/api/slides", "/api/slides/none", "/none", "/api/openapi.json"])
def test_every_answer_has_the_headers(lab: TestClient, path: str):
    headers = lab.get(path).headers
    policy = headers["content-security-policy"]
    assert "unsafe" not in policy and "script-src 'self';" in policy and "frame-ancestors 'none'" in policy
    assert headers["x-content-type-options"] == "nosniff" and headers["cache-control"] == "no-store"


def test_refusals_have_the_headers_too(lab: TestClient):
    for answer in (
        lab.get("/api/slides", headers={"Host": "evil.example"}),
        lab.get("/api/slides", headers={"Authorization": "Bearer x"}),
        lab.post(SEARCH, content=b"[", headers=JSON),
    ):
        assert answer.status_code in (401, 403, 422) and answer.headers["x-content-type-options"] == "nosniff"


def test_body_of_a_stranger_is_not_read(lab: TestClient):
    def body():
        raise AssertionError("read")
        yield b""

    answer = lab.post(SEARCH, content=body(), headers=JSON | {"Authorization": "Bearer x"})
    assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer"


def test_page_that_documents_the_routes_loads_nothing_from_elsewhere(lab: TestClient):
    assert lab.get("/docs").status_code == lab.get("/redoc").status_code == 404


def test_unforeseen_failure_has_the_headers_and_no_detail(toy_store: Store, monkeypatch: pytest.MonkeyPatch):
    client = client_of(toy_store)
    service = client.app.state.service  # type: ignore[attr-defined]
    monkeypatch.setattr(service, "collection", lambda name: 1 / 0)
    client = TestClient(client.app, base_url="http://127.0.0.1", raise_server_exceptions=False)
    answer = client.get("/api/collections/toy")
    assert answer.status_code == 500 and "zero" not in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"
