"""JAX is strict here: ranks are never promoted in silence."""

from collections.abc import Iterator

import jax
import pytest

from embedstore.store import Store
from tests.heads.scene import make_store

#: Folders whose tests run their programs for less long than JAX compiles them.
SHORT = {"augmentation", "networks", "training"}


@pytest.fixture(autouse=True)
def _strict_ranks() -> Iterator[None]:
    with jax.numpy_rank_promotion("raise"):
        yield


@pytest.fixture(autouse=True)
def _compiled_quickly(request: pytest.FixtureRequest) -> Iterator[None]:
    """In SHORT, optimising the machine code of the many programs takes longer than it saves."""
    jax.config.update("jax_disable_most_optimizations", request.path.parent.name in SHORT)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture(scope="session")
def fitted_store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store of twelve slides that tests only read, or add heads to."""
    return make_store(tmp_path_factory.mktemp("heads"))
