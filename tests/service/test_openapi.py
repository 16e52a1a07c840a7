"""Every route keeps to its description in the OpenAPI document; schemathesis makes the requests."""

import shutil
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from fastapi.routing import APIRoute
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.strategies import sampled_from
from schemathesis import GenerationMode
from schemathesis.checks import load_all_checks
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance
from starlette.testclient import TestClient

from embedstore.access_config import AccessConfig
from embedstore.service import create_app
from embedstore.service.answers import ARROW
from embedstore.service.app import ROUTERS
from embedstore.service_config import ServiceConfig
from embedstore.store import Store

REQUESTS = 25  # a route
ROUTES = sorted(
    (route.path, method.lower())
    for router in ROUTERS
    for route in router.routes
    if isinstance(route, APIRoute) and route.include_in_schema
    for method in route.methods
)
load_all_checks()
pytestmark = pytest.mark.slow


@schemathesis.serializer(ARROW)
def arrow(context: Any, value: Any) -> bytes:
    """A body of bytes, as it is: a table that is none."""
    return value if isinstance(value, bytes) else str(value).encode(errors="replace")


#: A filter, a name or a vector may fit the document and not the store: that is a 400 or 404. And what was to be wrong
#: is right again where it was given the name of something that the store has.
LEFT_OUT = [positive_data_acceptance, negative_data_rejection]


@pytest.fixture(scope="module")
def document(toy_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Of a copy of the store, as some requests change it."""
    copied = shutil.copytree(toy_store.uri, tmp_path_factory.mktemp("openapi") / "store")
    access = AccessConfig(insecure=True, allow_host=("testserver",))
    app = create_app(str(copied), ServiceConfig(access=access))
    with TestClient(app):  # its lifespan
        yield schemathesis.openapi.from_asgi("/api/openapi.json", app)


@pytest.fixture(scope="module")
def known(toy_store: Store) -> dict[str, str]:
    """{parameter or field: a value that the store knows}."""
    tile = toy_store.collection("toy").tiles(columns=["tile_id"], limit=1)["tile_id"][0].as_py()
    names = {"collection": "toy", "slide_id": "a.svs", "task": "tumour", "label": "yes", "tile_id": str(tile)}
    return names | {"where": "cohort = 'A'", "sort": "patient"}


@pytest.mark.parametrize("mode", GenerationMode)
@pytest.mark.parametrize("path, method", ROUTES)
def test_answers_are_those_of_the_document(
    document: Any, known: dict[str, str], path: str, method: str, mode: GenerationMode
) -> None:
    operation = document[path.replace(":path}", "}")][method]
    if mode is GenerationMode.NEGATIVE and _takes_anything(operation.definition.raw):
        return

    @settings(
        max_examples=REQUESTS,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode), named=sampled_from([True, True, False]))
    def ask(case: schemathesis.Case, named: bool) -> None:
        if named:  # what the store has: random names lead to the first refusal only
            for place in (case.path_parameters, case.query, case.body):
                _name_known(place, known)
        case.call_and_validate(excluded_checks=LEFT_OUT)

    ask()


def _takes_anything(described: dict[str, Any]) -> bool:
    """Whether nothing can be wrong for a route: it takes names in its path at most, which are any text."""
    taken = described.get("parameters", [])
    names = [each for each in taken if each["in"] == "path" and set(each["schema"]) <= {"type", "title"}]
    return (
        "requestBody" not in described and all(each["schema"]["type"] == "string" for each in names) and names == taken
    )


def _name_known(values: Any, known: dict[str, str]) -> None:
    """Give parameters, and fields of a body, values that the store knows by their names."""
    if not isinstance(values, dict):
        return
    for name, value in values.items():
        if isinstance(value, dict):
            _name_known(value, known)
        elif name in known and isinstance(value, str):
            values[name] = known[name]
