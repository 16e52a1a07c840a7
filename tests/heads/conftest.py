"""JAX is strict here: ranks are never promoted in silence."""

from collections.abc import Iterator
from pathlib import Path

import jax
import pytest

from embedstore.store import Store
from tests.heads.scene import make_store


@pytest.fixture(autouse=True)
def _strict_ranks() -> Iterator[None]:
    with jax.numpy_rank_promotion("raise"):
        yield


@pytest.fixture(autouse=True, scope="module")
def _few_maps() -> Iterator[None]:
    """Compiled programs hold maps of memory, of which Linux gives a process 65,530: they are let go before that."""
    yield
    maps = Path("/proc/self/maps")
    if maps.exists() and len(maps.read_text().splitlines()) > 20_000:
        jax.clear_caches()


@pytest.fixture(scope="session")
def fitted_store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store of twelve slides that tests only read, or add heads to."""
    return make_store(tmp_path_factory.mktemp("heads"))
