"""Those who wait for a lease get it in the order in which they came; a row that was left behind holds nobody up."""

import threading
import time

import pytest

from embedstore.store import Lease, Store
from embedstore.store.lease_rows import LeaseRow, Turn, lease_of, lease_row, put_row, read_rows, waiting_row
from embedstore.store.schema import LEASES
from embedstore.store.table import Table

ELSEWHERE = "another-boot/4026531836/1/77"


@pytest.fixture
def leases(store: Store) -> Table:
    table = Table(store.uri, "leases")
    table.create(LEASES)
    return table


def wait_in_line(leases: Table, owner: str, process: str | None = ELSEWHERE) -> LeaseRow:
    row = waiting_row("t", owner, read_rows(leases, "t")[1])._replace(process=process)
    put_row(leases, row)
    return row


def test_the_queue_is_in_the_order_of_coming(leases: Table):
    rows = [wait_in_line(leases, owner) for owner in ("z", "m", "a")]
    put_row(leases, lease_row("t2", "other"))
    put_row(leases, lease_row("t", "holder"))
    holder, queue = read_rows(leases, "t")
    assert holder is not None and holder.owner == "holder" and queue == rows
    assert {lease_of(row.name) for row in rows} == {"t"}
    assert [len(Turn(owner).ahead(queue)) for owner in ("z", "m", "a", "new")] == [0, 1, 2, 3]
    ended = queue[0]._replace(process=lease_row("t", "z").process)  # this process holds nothing under that id
    assert Turn("m").ahead([ended, *queue[1:]]) == []


def test_a_free_lease_is_left_to_the_first_and_not_for_ever(leases: Table):
    first, second = wait_in_line(leases, "a"), wait_in_line(leases, "b")
    turn = Turn("me")
    assert not turn.has_come([first], free=True, asked_at=0.0)
    assert not turn.has_come([first], free=True, asked_at=2.9)
    assert not turn.has_come([first], free=False, asked_at=3.1)  # he has taken it
    assert not turn.has_come([second], free=True, asked_at=3.2)
    assert not turn.has_come([second], free=True, asked_at=6.1)
    assert turn.has_come([second], free=True, asked_at=6.3)
    assert not turn.has_come([], free=False, asked_at=6.4)
    assert turn.has_come([], free=True, asked_at=6.5)


def test_whoever_waited_first_is_next(store: Store, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("embedstore.store.lease.QUEUE_AFTER_S", 0.0)
    monkeypatch.setattr("embedstore.store.lease_rows.PATIENCE_S", 600.0)  # a thread may stand still for a while
    took: list[int] = []

    def take(number: int) -> None:
        with Lease(store.uri, "t", wait_s=600):
            took.append(number)

    threads = [threading.Thread(target=take, args=(number,)) for number in range(3)]
    with Lease(store.uri, "t"):
        for number, thread in enumerate(threads):
            thread.start()
            while len(read_rows(Table(store.uri, "leases"), "t")[1]) <= number:
                time.sleep(0.01)
    for thread in threads:
        thread.join()
    assert took == [0, 1, 2]
    assert read_rows(Table(store.uri, "leases"), "t") == (None, [])


@pytest.mark.slow
def test_those_who_died_in_the_queue_are_passed_over_and_forgotten(
    store: Store, leases: Table, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("embedstore.store.lease_rows.PATIENCE_S", 0.2)
    wait_in_line(leases, "ended", process=lease_row("t", "x").process)
    wait_in_line(leases, "perhaps dead")
    began = time.monotonic()
    with Lease(store.uri, "t", wait_s=0):
        assert time.monotonic() - began > 0.2
    assert read_rows(leases, "t") == (None, [])
