"""Routes say who may use them, and a role may what those below it may."""

from types import SimpleNamespace
from typing import Annotated

import pytest
from fastapi import APIRouter, FastAPI, Request
from fastapi.testclient import TestClient

from embedstore.errors import NotAllowedError
from embedstore.service.security import ROLES, Caller, needs, public, rules

refused: list[str] = []


def app_for(role: str) -> FastAPI:
    async def caller_of(request: Request) -> Caller:
        return Caller(name="ada", role=role)

    app = FastAPI(openapi_url=None)
    log = SimpleNamespace(refused=lambda caller, action: refused.append(action))
    app.state.service = SimpleNamespace(authenticator=SimpleNamespace(caller_of=caller_of), access_log=log)
    router = APIRouter(prefix="/api")

    @router.get("/labels/{slide_id:path}/x")
    async def look(caller: Annotated[Caller, needs("read")]) -> str:
        return caller.name

    @router.post("/fit", dependencies=[needs("fit")])
    async def fit() -> None: ...

    @router.get("/forgotten")
    async def forgotten() -> None: ...

    app.include_router(router)

    @app.get("/health", dependencies=[public()])
    async def health() -> None: ...

    return app


def test_every_route_is_listed_with_its_rule():
    assert set(rules(app_for("read").routes)) == {
        ("GET", "/api/labels/{slide_id:path}/x", "read"), ("POST", "/api/fit", "fit"), ("GET", "/api/forgotten", None),
        ("GET", "/health", "public"),
    }  # fmt: skip


@pytest.mark.parametrize("role", ROLES)
def test_role_may_what_those_below_it_may(role: str):
    client = TestClient(app_for(role))
    assert client.get("/api/labels/a/b/x").json() == "ada"
    if ROLES.index(role) >= ROLES.index("fit"):
        assert client.post("/api/fit").status_code == 200
    else:
        with pytest.raises(NotAllowedError, match=f"role '{role}' and this needs 'fit'"):
            client.post("/api/fit")
        assert refused.pop() == "POST /api/fit"
