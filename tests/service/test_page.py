"""How the page is sent."""

from starlette.testclient import TestClient

from embedstore.service.routes.page import read_page
from embedstore.store import Store
from tests.service.clients import client_of


def test_page_and_assets_are_for_everybody_and_kept_by_browsers(client: TestClient):
    page = client.get("/", headers={"Accept-Encoding": "identity"})
    assert page.status_code == 200 and page.headers["cache-control"] == "no-cache"
    assert page.headers["content-type"].startswith("text/html")
    served = client.app.state.page  # type: ignore[attr-defined]  # as it was when the service began
    script = next(name for name in served if name.endswith(".js") and name in page.text)
    asset = client.get(f"/{script}")
    assert asset.headers["content-encoding"] == "gzip" and "immutable" in asset.headers["cache-control"]
    assert asset.headers["content-security-policy"].startswith("default-src 'none'")
    plain = client.get(f"/{script}", headers={"Accept-Encoding": "identity"})
    assert plain.content == asset.content and "content-encoding" not in plain.headers
    assert client.get(f"/{script}", headers={"If-None-Match": asset.headers["etag"]}).status_code == 304


def test_what_is_no_file_of_the_page_is_not_found(client: TestClient):
    for name in ("nothing.js", "..%2f..%2fapp.py", "..%2findex.html"):
        assert client.get(f"/assets/{name}").status_code == 404


def test_a_clone_without_the_built_page_says_how_to_build_it(tmp_path, toy_store: Store):
    with client_of(toy_store) as own:  # a service of its own, which others do not ask
        own.app.state.page = read_page(tmp_path)  # type: ignore[attr-defined]
        answer = own.get("/")
    assert answer.status_code == 200 and "make viewer" in answer.text
