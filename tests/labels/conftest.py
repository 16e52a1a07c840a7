"""The small store and collection of the tests of the store."""

from tests.store.conftest import collection, deliver, store  # noqa: F401
