"""Ctrl-C during a run: the first asks it to stop, the second ends it, and afterwards it means what it meant before."""

import contextlib
import signal
import threading
from collections.abc import Iterator

import pytest

from actors.cluster import _sigterm_handler_kept
from actors.interruption import stop_on_interrupt
from embedstore.progress import Progress


@contextlib.contextmanager
def heard(number: signal.Signals) -> Iterator[None]:
    """A signal that is not ignored, also where the tests were started by `nohup`."""
    before = signal.signal(number, signal.default_int_handler)
    yield
    signal.signal(number, before)


@pytest.mark.parametrize(
    ("number", "second"),
    [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit), (signal.SIGHUP, SystemExit)],
)
def test_the_first_signal_asks_to_stop_and_the_second_interrupts(number: signal.Signals, second: type[BaseException]):
    reports: list[Progress] = []
    with heard(number), stop_on_interrupt(reports.append) as should_stop:
        assert not should_stop()
        signal.raise_signal(number)
        assert should_stop()
        assert [(report.stage, report.total) for report in reports] == [("ingest", None)]
        assert "finished slides are committed" in reports[0].message
        assert should_stop.signal == number
        with pytest.raises(second) as ended:
            signal.raise_signal(number)
        assert getattr(ended.value, "code", None) in (None, 128 + number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_handlers_are_restored(number: signal.Signals):
    with heard(number):
        before = signal.getsignal(number)
        with stop_on_interrupt():
            assert signal.getsignal(number) is not before
        assert signal.getsignal(number) is before


def test_handlers_are_restored_after_an_error():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(OSError, match="full"), stop_on_interrupt():
        assert signal.getsignal(signal.SIGINT) is not before
        raise OSError("disk full")
    assert signal.getsignal(signal.SIGINT) is before


def test_outside_of_the_main_thread_nothing_changes():
    before, answers = signal.getsignal(signal.SIGINT), []

    def work() -> None:
        with stop_on_interrupt() as should_stop:
            answers.append((should_stop(), signal.getsignal(signal.SIGINT) is before))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert answers == [(False, True)]


def test_ray_does_not_take_sigterm_away():
    """`ray.init` installs a handler of its own, which would end a run that was asked to stop."""
    with stop_on_interrupt() as should_stop:
        with _sigterm_handler_kept():
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.raise_signal(signal.SIGTERM)
        assert should_stop()
