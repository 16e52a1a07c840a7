"""Who may use a route. A route without a rule keeps the service from starting."""

import re
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any, Literal

from fastapi import Depends, FastAPI, Request
from fastapi.routing import iter_route_contexts

from embedstore.access_config import ROLES, Role
from embedstore.errors import NotAllowedError
from embedstore.service.security.caller import Caller

Rule = Role | Literal["public"]
_RULES: tuple[Rule, ...] = ("public", *ROLES)
_CONVERTOR = re.compile(r":\w+\}")  # `{slide_id:path}` is `{slide_id}` in the document


@cache
def needs(role: Role) -> Any:
    """A dependency that lets a role pass, and every role above it: `caller: Annotated[Caller, needs("read")]`.

    Raises:
        NotAuthenticatedError: the request does not say who asks.
        NotAllowedError: the caller has another role.
    """

    async def caller_of(request: Request) -> Caller:
        service = request.app.state.service
        caller: Caller = await service.authenticator.caller_of(request)
        if not caller.may(role):
            service.access_log.refused(caller, f"{request.method} {request.scope['route'].path}")
            raise NotAllowedError(
                f"{caller.name} has the role {caller.role!r} and this needs {role!r}; ask whoever runs the service for "
                f"a token with that role (`embedstore token create --role {role}`)"
            )
        return caller

    caller_of.rule = role  # type: ignore[attr-defined]
    return Depends(caller_of)


def public() -> Any:
    """The dependency of a route that answers everybody, and tells nothing of the store."""

    async def anyone() -> None: ...

    anyone.rule = "public"  # type: ignore[attr-defined]
    return Depends(anyone)


def rule_of(route: Any) -> Rule | None:
    """The rule of a route; None where it has none."""
    dependant = getattr(route, "dependant", None)  # Starlette's own routes, such as that of static files, have none
    return None if dependant is None else max(_rules_in(dependant), key=_RULES.index, default=None)


def rules(routes: Iterable[Any]) -> Iterator[tuple[str, str, Rule | None]]:
    """(method, path, rule) of every route of an app, those of its routers included; None for a route without a rule."""
    for route in iter_route_contexts(list(routes)):
        rule = rule_of(route)
        for method in sorted(route.methods or {"ANY"}):
            yield method, route.path or "", rule


def document_rules(app: FastAPI) -> None:
    """Make the OpenAPI document of an app tell the role that each route needs, as `x-role`, and how to send a token."""
    undocumented = app.openapi

    def openapi() -> dict[str, Any]:
        document = undocumented()
        scheme = {"type": "http", "scheme": "bearer", "description": "Of `embedstore token create`."}
        document.setdefault("components", {})["securitySchemes"] = {"token": scheme}
        for method, path, rule in rules(app.routes):
            operation = document["paths"].get(_CONVERTOR.sub("}", path), {}).get(method.lower())
            if operation is not None:
                operation |= {"x-role": rule} | ({} if rule == "public" else {"security": [{"token": []}, {}]})
        return document

    app.openapi = openapi  # type: ignore[method-assign]


def _rules_in(dependant: Any) -> list[Rule]:
    own = getattr(dependant.call, "rule", None)
    return [*([own] if own else []), *(rule for each in dependant.dependencies for rule in _rules_in(each))]
