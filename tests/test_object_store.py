"""The S3 server of the tests: one writer wins, and it fails as it is told to."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.object_store import Faults, ObjectStore

obstore = pytest.importorskip("obstore")


def test_one_of_many_who_put_if_absent_wins(bucket: str):
    store = obstore.store.from_url(bucket)

    def put(i: int) -> bool:
        try:
            obstore.put(store, "k", b"%d" % i, mode="create")
        except obstore.exceptions.AlreadyExistsError:
            return False
        return True

    with ThreadPoolExecutor(8) as threads:
        won = list(threads.map(put, range(8)))
    assert sum(won) == 1 and bytes(obstore.get(store, "k").bytes()) == b"%d" % won.index(True)


def test_faults_as_they_were_asked_for(object_store: ObjectStore, bucket: str):
    store = obstore.store.from_url(bucket)
    obstore.put(store, "k", b"v")
    before = object_store.counts()
    object_store.fail(Faults(unavailable=1, times=1, methods="GET"))
    assert bytes(obstore.get(store, "k").bytes()) == b"v"  # tried again
    object_store.fail(Faults(lost=1, times=1, key="/other"))
    obstore.put(store, "other", b"w")
    object_store.fail(Faults(refuse=True, after=1))
    obstore.get(store, "k")
    with pytest.raises(obstore.exceptions.PermissionDeniedError):
        obstore.get(store, "k")
    failed = object_store.counts() - before
    assert (failed["unavailable"], failed["lost"], failed["refuse"]) == (1, 1, 1) and failed["PUT"] == 2


def test_what_is_stored_outlives_an_outage(object_store: ObjectStore, bucket: str):
    store = obstore.store.from_url(bucket, retry_config={"max_retries": 0})
    obstore.put(store, "k", b"v")
    object_store.go_away()
    try:
        with pytest.raises(obstore.exceptions.GenericError, match="error sending request"):
            obstore.get(store, "k")
    finally:
        object_store.come_back()
    assert bytes(obstore.get(store, "k").bytes()) == b"v"
