"""JAX is strict here: ranks are never promoted in silence."""

from collections.abc import Iterator

import jax
import pytest

from embedstore.store import Store
from tests.heads.scene import make_store


@pytest.fixture(autouse=True)
def _strict_ranks() -> Iterator[None]:
    with jax.numpy_rank_promotion("raise"):
        yield


@pytest.fixture(scope="session")
def fitted_store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store of twelve slides that tests only read, or add heads to."""
    return make_store(tmp_path_factory.mktemp("heads"))
