"""Every route against every role: made from the application, so that a new route is in it."""

import re
from collections.abc import Iterator

import pytest
from fastapi import APIRouter
from starlette.testclient import TestClient

from embedstore.service import app as module
from embedstore.service import create_app
from embedstore.service.security import ROLES, rules
from embedstore.store import Store
from tests.export.prediction_scene import grid, make_store
from tests.service.clients import client_of

#: Asks for nothing: a route that would answer refuses the parameter, before it does anything.
NOTHING = {"no_such_parameter": "1"}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return make_store(tmp_path_factory.mktemp("rules"), {"a.svs": grid(1, 1)})


@pytest.fixture(scope="module")
def tokens(store: Store) -> dict[str, str]:
    return {role: store.tokens.create(role, role=role) for role in ROLES}


@pytest.fixture(scope="module")
def client(store: Store, tokens: dict[str, str]) -> TestClient:
    return client_of(store)


def routes(client: TestClient) -> Iterator[tuple[str, str, str | None]]:
    for method, path, rule in rules(client.app.routes):  # type: ignore[attr-defined]
        if path != "/api/openapi.json":
            yield method, re.sub(r"\{[^}]*\}", "1", path), rule


def test_every_route_answers_the_roles_of_its_rule_and_nobody_else(client: TestClient, tokens: dict[str, str]):
    wrong, count = [], 0
    for method, path, rule in routes(client):
        for role, token in [("nobody", None), *tokens.items()]:
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            status = client.request(method, path, params=NOTHING, headers=headers).status_code
            if path.startswith("/assets/"):
                expected = 404  # of no such file, and for everybody
            elif rule == "public":
                expected = 200
            elif token is None:
                expected = 401
            else:
                expected = 400 if ROLES.index(role) >= ROLES.index(rule) else 403  # type: ignore[arg-type]
            count += 1
            if status != expected:
                wrong.append(f"{method} {path} of {rule} answers {role} with {status}; expected {expected}")
    assert not wrong, "\n".join(wrong)
    assert count > 100


def test_who_changes_the_store_may_more_than_read(client: TestClient):
    """What only looks may be asked with POST, where the question is long."""
    looks = {
        "search",
        "search-many",
        "query",
        "embed",
        "embed-text",
        "cancel",
        "exports",
        "check",
        "suggest",
        "mistakes",
    }
    wrong = [
        f"{method} {path}"
        for method, path, rule in routes(client)
        if method not in ("GET", "HEAD") and rule in (None, "public", "read") and path.rpartition("/")[2] not in looks
    ]
    assert not wrong, wrong


def test_route_without_a_rule_keeps_the_service_from_starting(store: Store, monkeypatch: pytest.MonkeyPatch):
    router = APIRouter()
    router.add_api_route("/api/forgotten", lambda: None)
    monkeypatch.setattr(module, "ROUTERS", (*module.ROUTERS, router))
    monkeypatch.setattr(module, "_routes", module._routes.__wrapped__)  # not those of apps before
    with pytest.raises(RuntimeError, match="/api/forgotten"):
        create_app(store.uri)


def test_document_tells_the_role_of_every_route(client: TestClient):
    document = client.get("/api/openapi.json").json()
    told = {
        (method.upper(), path): operation["x-role"]
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }
    expected = {
        (method, re.sub(r":\w+\}", "}", path)): rule
        for method, path, rule in rules(client.app.routes)  # type: ignore[attr-defined]
        if path not in ("/api/openapi.json", "/", "/assets/{name}")  # the page is no part of the API
    }
    assert told == expected
    assert document["paths"]["/health"]["get"].get("security") is None
    assert document["paths"]["/api"]["get"]["security"] == [{"token": []}, {}]
    assert document["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
