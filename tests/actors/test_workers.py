"""Workers on threads: order, errors, handles as arguments."""

import threading

import pytest

from actors.workers import LocalPool, LocalWorker


class Counter:
    def __init__(self) -> None:
        self.count = 0

    def add(self, n: int) -> int:
        self.count += n
        return self.count

    def both(self, n: int) -> tuple[int, str]:
        return n, str(n)

    def fail(self) -> None:
        raise ValueError("asked to")

    def thread(self) -> str:
        return threading.current_thread().name


def result(ref):
    assert LocalPool().wait([ref], 300.0) == [ref]
    return LocalPool().get(ref)


@pytest.fixture
def worker():
    made = LocalWorker(Counter, name="counter")
    yield made
    made.stop()


def test_calls_run_in_order_on_one_object(worker: LocalWorker):
    refs = [worker.call("add", n) for n in (1, 2, 3)]
    assert [result(ref) for ref in refs] == [1, 3, 6]


def test_a_result_can_be_another_calls_argument(worker: LocalWorker):
    other = LocalWorker(Counter, name="other")
    assert result(other.call("add", worker.call("add", 5))) == 5
    other.stop()


def test_a_result_in_parts_has_a_handle_for_each(worker: LocalWorker):
    number, text = worker.call("both", 7, returns=2)
    assert (result(number), result(text)) == (7, "7")


def test_an_error_reaches_only_its_caller(worker: LocalWorker):
    failing, fine = worker.call("fail"), worker.call("add", 1)
    with pytest.raises(ValueError, match="asked to"):
        result(failing)
    assert result(fine) == 1


def test_an_error_in_making_the_object_reaches_the_caller():
    worker = LocalWorker(lambda: 1 / 0, name="broken")
    with pytest.raises(ZeroDivisionError):
        result(worker.call("add", 1))
    worker.stop()


def test_work_is_done_on_a_thread_of_its_own(worker: LocalWorker):
    assert result(worker.call("thread")).startswith("counter")
