"""A kind of input, what is done with it, and what an input must not end in."""

import contextlib
import faulthandler
import importlib
import os
import pkgutil
import resource
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.strategies import SearchStrategy

from embedstore.errors import EmbedStoreError

#: Address space that reading an input may take, beyond what the process has: more is a MemoryError, which is a fault
#: where the reader does not make an error of its own from it. A process that reads slides or images has its own limit.
LIMIT_BYTES = 2 << 30
LIMIT_S = 60.0  # a process that takes longer over one input is ended, with its traceback
SHOWN_BYTES = 200  # of an input, in a list of faults


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of input.

    Attributes:
        name: As pytest shows it.
        inputs: What is tried.
        reader: Called once with an empty folder; gives the function that reads an input, which may raise an
            EmbedStoreError; a `close` of that function is called at the end.
        sample: Inputs in a run of all tests, which should take about a second; `make fuzz` keeps the proportions.
    """

    name: str
    inputs: SearchStrategy[bytes]
    reader: Callable[[Path], Callable[[bytes], object]]
    sample: int = 200


@dataclass(kw_only=True)
class Fault:
    """What inputs ended in that is no error of the library's own: `count` of them, the shortest of which is kept."""

    what: str
    data: bytes
    count: int = 0

    def __str__(self) -> str:
        shown = repr(self.data[:SHOWN_BYTES]) + "…" * (len(self.data) > SHOWN_BYTES)
        return f"{self.count} × {self.what}\n    such as {shown}"


def kinds() -> Iterator[Kind]:
    """Every kind of `tests/fuzz/kinds`."""
    package = importlib.import_module("tests.fuzz.kinds")
    for module in pkgutil.iter_modules(package.__path__):
        yield from importlib.import_module(f"{package.__name__}.{module.name}").KINDS


def find_faults(kind: Kind, folder: Path, *, inputs: int, seed_: int) -> list[Fault]:
    """Read inputs of a kind, the same for the same seed; the most frequent fault comes first.

    The input in hand is kept in the folder, for when the process is ended by a signal or by the limit of time.
    """
    faults: dict[str, Fault] = {}
    place = folder / "read"
    place.mkdir()
    in_hand = folder / "in-hand"
    with _only_here(folder):
        with contextlib.ExitStack() as at_the_end:
            read = kind.reader(place)
            at_the_end.callback(getattr(read, "close", lambda: None))
            _run(kind, read, in_hand, faults, inputs=inputs, seed_=seed_)
        written = [str(path.relative_to(folder)) for name in ("home", "here") for path in (folder / name).rglob("*")]
    if written:
        faults["written"] = Fault(what=f"files that nobody asked for: {', '.join(written[:5])}", data=b"", count=1)
    return sorted(faults.values(), key=lambda fault: -fault.count)


@contextlib.contextmanager
def _only_here(folder: Path) -> Iterator[None]:
    """Home, working directory and temporary files are empty folders, in which it shows what is written."""
    kept, before = dict(os.environ), Path.cwd()
    for name in ("home", "here", "temporary"):
        (folder / name).mkdir()
    os.environ |= {"HOME": str(folder / "home"), "TMPDIR": str(folder / "temporary")}
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "EMBEDSTORE_CACHE"):
        os.environ.pop(name, None)
    os.chdir(folder / "here")
    tempfile.tempdir = None
    try:
        yield
    finally:
        os.chdir(before)
        os.environ.clear()
        os.environ |= kept
        tempfile.tempdir = None


@contextlib.contextmanager
def _bounded() -> Iterator[None]:
    """As much more address space as LIMIT_BYTES, and as much time as LIMIT_S."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    faulthandler.dump_traceback_later(LIMIT_S, exit=True)
    with contextlib.suppress(OSError), open("/proc/self/statm", encoding="ascii") as file:  # not on macOS
        used = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + LIMIT_BYTES, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        faulthandler.cancel_dump_traceback_later()


def _run(
    kind: Kind,
    read: Callable[[bytes], object],
    in_hand: Path,
    faults: dict[str, Fault],
    *,
    inputs: int,
    seed_: int,
) -> None:

    @seed(seed_)
    @settings(
        max_examples=inputs, database=None, deadline=None, phases=[Phase.generate], suppress_health_check=HealthCheck
    )
    @given(kind.inputs)
    def run(data: bytes) -> None:
        in_hand.write_bytes(data)
        with _bounded():
            what = _fault(read, data)
        if what is not None:
            fault = faults.setdefault(what, Fault(what=what, data=data))
            fault.count += 1
            fault.data = min(fault.data, data, key=len)

    run()


def _fault(read: Callable[[bytes], object], data: bytes) -> str | None:
    """What is wrong with the end that an input comes to; None where it is read, or refused as it should be."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            read(data)
        except EmbedStoreError as error:
            message = str(error)
            return None if message.strip() and "\n" not in message else f"an error that is not one line: {message!r}"
        except Exception as error:
            return f"{type(error).__name__}: {str(error)[:100]}\n    at {_place(error)}"
    return None


def _place(error: BaseException) -> str:
    """The last lines of our own in a traceback, and its end."""
    frames: list[Any] = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "site-packages" not in frame.filename and "/tests/fuzz/" not in frame.filename]
    chosen = [*own[-3:], frames[-1]]
    return " < ".join(dict.fromkeys(f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in reversed(chosen)))
