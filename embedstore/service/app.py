"""The application: its routes, its middleware, and what they share."""

import contextlib
from collections.abc import AsyncIterator
from functools import cache
from typing import Any

import anyio.to_thread
from fastapi import APIRouter, FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute

from embedstore.service.failures import add_handlers
from embedstore.service.limits import BoundedBodies
from embedstore.service.metrics import CountedRequests
from embedstore.service.routes import (
    admin,
    collections,
    encodings,
    exports,
    heads,
    jobs,
    label_files,
    labels,
    maps,
    page,
    pictures,
    predictions,
    search,
    slides,
    store,
    suggestions,
    tile_grid,
    tiles,
    upkeep,
)
from embedstore.service.security import document_rules, rules
from embedstore.service.security.gate import DOCUMENT, Gate
from embedstore.service.service import Service
from embedstore.service_config import ServiceConfig
from embedstore.version import __version__

#: In this order: the route of one slide takes every path below /api/slides that no route before it takes.
ROUTERS: tuple[APIRouter, ...] = (
    page.router, store.router, collections.router, maps.router, encodings.router, search.router, suggestions.router,
    tiles.router, tile_grid.router, label_files.router, labels.router, pictures.router, jobs.router, heads.router,
    predictions.router, exports.router, admin.router, upkeep.router, slides.router,
)  # fmt: skip

#: What pages of `allow_origin` may send.
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
REQUEST_HEADERS = ("Authorization", "Content-Type", "Accept", "If-None-Match")

DESCRIPTION = (
    "The embeddings, slides, labels and heads of a store. Coordinates are level-0 pixels (x, y); ids of tiles are text."
)


def create_app(store_uri: str, config: ServiceConfig | None = None) -> FastAPI:
    """The application that serves a store.

    Args:
        store_uri: A directory, or the URI of an object store.
        config: The settings; the defaults when None.
    Raises:
        StoreNotFoundError: nothing there was written by embedstore.
        RuntimeError: a route has no rule who may use it.
    """
    config = config or ServiceConfig()
    service = Service(store_uri, config)
    files = page.read_page()

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await anyio.to_thread.run_sync(service.start)
        yield
        await anyio.to_thread.run_sync(service.close)

    app = _app(lifespan=lifespan)
    app.state.service, app.state.page = service, files
    add_handlers(app)
    app.add_middleware(BoundedBodies, config=config)
    app.add_middleware(Gate, service=service)
    if origins := config.access.allow_origin:
        app.add_middleware(
            CORSMiddleware, allow_origins=origins, allow_methods=METHODS, allow_headers=REQUEST_HEADERS, max_age=600
        )
    app.add_middleware(CountedRequests, metrics=service.metrics)
    return app


def openapi_document() -> dict[str, Any]:
    """The OpenAPI document of every service, whatever its store."""
    return _app().openapi()


def _app(**settings: Any) -> FastAPI:
    """The routes and their document, without a store.

    Raises:
        RuntimeError: a route has no rule who may use it.
    """
    app = FastAPI(
        title="embedstore",
        version=__version__,
        description=DESCRIPTION,
        openapi_url=DOCUMENT,
        docs_url=None,  # its page loads scripts from elsewhere
        redoc_url=None,
        routes=_routes(),
        **settings,
    )
    require_rules(app)
    document_rules(app)
    return app


@cache
def _routes() -> list[BaseRoute]:
    """The routes of every app: FastAPI looks into their functions for 50 ms, once a process."""
    router = APIRouter(generate_unique_id_function=_operation_id)
    for each in ROUTERS:
        router.include_router(each)
    return router.routes


def require_rules(app: FastAPI) -> None:
    """Raise RuntimeError if a route has no rule who may use it: nothing is open by accident."""
    lacking = [path for _, path, rule in rules(app.routes) if rule is None and path != DOCUMENT]
    if lacking:
        raise RuntimeError(f"routes without a rule who may use them: {', '.join(lacking)}")


def _operation_id(route: APIRoute) -> str:
    """The function's name, for clients that are generated from the OpenAPI document."""
    return route.name
