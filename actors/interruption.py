"""Signals during a long call: the first one stops it cleanly, the second one ends it at once."""

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType

from embedstore.progress import OnProgress, Progress, no_progress

#: Of Ctrl-C, of `kill`, and of a terminal that is closed.
SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


@dataclass
class Interruption:
    """Whether a call was asked to stop; a function for `should_stop`.

    Attributes:
        signal: Number of the signal that asked; None before.
    """

    signal: int | None = None

    def __call__(self) -> bool:
        return self.signal is not None


@contextlib.contextmanager
def stop_on_interrupt(on_progress: OnProgress = no_progress) -> Iterator[Interruption]:
    """Turn SIGINT, SIGTERM and SIGHUP into a request to stop, for a call such as `ingest`.

    Yields what is True after the first signal. A second signal raises KeyboardInterrupt, or SystemExit where it is not
    Ctrl-C. At the end the previous handlers are back. A SIGHUP that is ignored stays so (`nohup`). Outside of the main
    thread, where Python delivers no signals, nothing is changed.

    Args:
        on_progress: Called at the first signal, with a message.
    """
    interruption = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield interruption
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        if interruption():
            if number == signal.SIGINT:
                raise KeyboardInterrupt
            sys.exit(128 + number)
        interruption.signal = number
        message = "stopping: finished slides are committed, slides in flight are dropped (again to abort)"
        with contextlib.suppress(OSError):  # the terminal may be gone
            on_progress(Progress(stage="ingest", message=message))

    previous = {number: signal.getsignal(number) for number in SIGNALS}
    handled = {
        number: handler
        for number, handler in previous.items()
        if handler is not signal.SIG_IGN or number == signal.SIGINT  # which shells ignore for jobs in the background
    }
    for number in handled:
        signal.signal(number, interrupt)
    try:
        yield interruption
    finally:
        for number, handler in handled.items():
            signal.signal(number, handler)
