"""A kind of input, what is done with it, and what an input must not end in."""

import faulthandler
import importlib
import pkgutil
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.strategies import SearchStrategy

from embedstore.errors import EmbedStoreError

LIMIT_S = 20.0  # a process that takes longer over one input is ended, with its traceback
SHOWN_BYTES = 200  # of an input, in a list of faults


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of input.

    Attributes:
        name: As pytest shows it.
        inputs: What is tried.
        reader: Called once with an empty folder; gives the function that reads an input, which may raise an
            EmbedStoreError.
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
    read, in_hand = kind.reader(place), folder / "in-hand"

    @seed(seed_)
    @settings(
        max_examples=inputs, database=None, deadline=None, phases=[Phase.generate], suppress_health_check=HealthCheck
    )
    @given(kind.inputs)
    def run(data: bytes) -> None:
        in_hand.write_bytes(data)
        faulthandler.dump_traceback_later(LIMIT_S, exit=True)
        try:
            what = _fault(read, data)
        finally:
            faulthandler.cancel_dump_traceback_later()
        if what is not None:
            fault = faults.setdefault(what, Fault(what=what, data=data))
            fault.count += 1
            fault.data = min(fault.data, data, key=len)

    run()
    return sorted(faults.values(), key=lambda fault: -fault.count)


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
