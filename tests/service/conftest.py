"""A small store, and a client of an application that serves it, without a socket."""

from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from embedstore.encoders import MeanEncoder, encode_slides
from embedstore.map_config import MapConfig
from embedstore.maps import make_map
from embedstore.store import Label, Outcome, Store
from tests.export.prediction_scene import grid, make_store
from tests.jax_programs import own_programs
from tests.service.clients import client_of


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What a service keeps outside of its store goes into a folder of the tests, not into the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        cache = tmp_path_factory.mktemp("cache")
        patch.setenv("EMBEDSTORE_CACHE", str(cache))
        patch.setenv("JAX_COMPILATION_CACHE_DIR", own_programs(cache))  # of workers of jobs
        yield


@pytest.fixture(scope="session")
def toy_store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Three slides with 12, 6 and 4 tiles in the collection 'toy'; for tests that do not change it."""
    folder = tmp_path_factory.mktemp("service")
    store = make_store(folder, {"a.svs": grid(4, 3), "b.svs": grid(3, 2), "sub/c.svs": grid(2, 2)})
    tiles = {"a.svs": 12, "b.svs": 6, "sub/c.svs": 4}
    outcomes = [
        Outcome(collection="toy", slide_id=name, path=str(folder / name), state="done", tiles=count)
        for name, count in tiles.items()
    ]
    store.ledger.record([], outcomes)
    store.labels.record(
        [
            Label(task="tumour", label="yes", slide_id="a.svs", x=0, y=0, edge_l0=128, author="ann", source="a.csv"),
            Label(task="tumour", label="no", slide_id="b.svs", x=0, y=0, edge_l0=128, author="ann", source="a.csv"),
        ]
    )
    make_map(store, store.collection("toy"), MapConfig(method="pca"))
    encode_slides(store, store.collection("toy"), MeanEncoder(), name="mean")
    return store


@pytest.fixture(scope="session")
def client(toy_store: Store) -> Iterator[TestClient]:
    """A client of the store, for tests that do not change it."""
    with client_of(toy_store) as client:
        yield client
