"""One torch thread: on small tensors more threads cost time, and much of it where other tests run beside."""

import pytest


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    from embedstore.extractors.torch_runtime import set_threads

    set_threads(1)
