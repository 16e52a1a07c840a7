"""Ctrl-C during a long call: the first one stops it cleanly, the second one ends it at once."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

from embedstore.progress import OnProgress, Progress, no_progress

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def stop_on_interrupt(on_progress: OnProgress = no_progress) -> Iterator[Callable[[], bool]]:
    """Turn SIGINT and SIGTERM into a request to stop, for a call such as `ingest`.

    Yields a function for `should_stop`: it returns True after the first signal. A second signal raises
    KeyboardInterrupt. At the end the previous handlers are back. Outside of the main thread, where Python delivers no
    signals, nothing is changed.

    Args:
        on_progress: Called at the first signal, with a message.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    interrupted = False

    def interrupt(signum: int, frame: FrameType | None) -> None:
        nonlocal interrupted
        if interrupted:
            raise KeyboardInterrupt
        interrupted = True
        message = "stopping: finished slides are committed, slides in flight are dropped (again to abort)"
        on_progress(Progress(stage="ingest", message=message))

    previous = {number: signal.signal(number, interrupt) for number in SIGNALS}
    try:
        yield lambda: interrupted
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
