"""How a command ends: exit codes, and one line on stderr for what went wrong."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType

import click

#: Signals that ask a process to end, beside Ctrl-C: of `kill`, and of a terminal that is closed.
SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))
#: The exit code of a process that the shell's pipe ended, as of `cat` in `cat FILE | head -1`.
CLOSED_PIPE = 128 + 13
#: Time until a signal that was lost is sent again, seconds.
AGAIN_S = 0.02
#: How often, where it comes while it is being sent.
MOST_TRIES = 10


@contextlib.contextmanager
def exit_codes() -> Iterator[None]:
    """Around a command: an error that embedstore foresees is one line on stderr and exit code 1.

    A signal or a closed pipe ends it without a word, with 128 + the number of the signal. What the command was about
    to write is taken back first, as after Ctrl-C; a second signal ends it at once.
    """
    try:
        with _signals_exit():
            yield
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        sys.exit(130)
    except Exception as error:
        from embedstore.access_errors import access_error

        told = access_error(error)
        if told is None:
            raise
        click.echo(f"error: {told}", err=True)
        sys.exit(1)


@contextlib.contextmanager
def closed_pipe_exits() -> Iterator[None]:
    """Around a command: end without a word where nobody reads its output any more."""
    try:
        yield
    except BrokenPipeError:
        with contextlib.suppress(OSError, ValueError):  # or Python would try once more to write what is left
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(CLOSED_PIPE)


@contextlib.contextmanager
def _signals_exit() -> Iterator[None]:
    def end(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        sys.exit(128 + number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handled = [number for number in SIGNALS if signal.getsignal(number) is signal.SIG_DFL]  # `nohup` ignores SIGHUP

    def again(number: int, after_s: float) -> None:
        if number in handled:
            signal.signal(number, end)
        sender = threading.Timer(after_s, os.kill, (os.getpid(), number))
        sender.daemon = True
        sender.start()

    for number in handled:
        signal.signal(number, end)
    try:
        with _nothing_lost(again):
            yield
    finally:
        for number in handled:
            signal.signal(number, signal.SIG_DFL)


@contextlib.contextmanager
def _nothing_lost(again: Callable[[int, float], None]) -> Iterator[None]:
    """Send a signal again whose exception Python dropped: it came in a callback of the garbage collector, as JAX's."""
    show = sys.unraisablehook

    def hook(dropped: "sys.UnraisableHookArgs") -> None:
        number, after_s = _signal_of(dropped.exc_value), AGAIN_S
        if number is None:
            show(dropped)
            return
        for _ in range(MOST_TRIES):
            try:
                again(number, after_s)
                return
            except (KeyboardInterrupt, SystemExit):  # on a busy machine it comes in here already, and would be dropped
                after_s = 2 * after_s + 0.1

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = show


def _signal_of(error: BaseException | None) -> int | None:
    """The signal that an exception stands for; None for others."""
    if isinstance(error, KeyboardInterrupt):
        return signal.SIGINT
    return (
        error.code - 128 if isinstance(error, SystemExit) and isinstance(error.code, int) and error.code > 128 else None
    )
