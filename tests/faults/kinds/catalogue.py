"""A kind of fault, and all of them by name."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..world import World


class Skipped(Exception):
    """This machine does not allow the fault; the message says why."""


@dataclass(frozen=True)
class Kind:
    """A fault that can be run again and again.

    Attributes:
        name: Of the fault.
        share: How often it is drawn, beside those of share 1.
        needs: What it takes: "object store", "root" or "ray"; "this process" where it changes functions here.
        run: Lets it happen to a command in a folder of its own, and checks what is left; returns what happened. An
            AssertionError is a loss.
    """

    name: str
    share: float
    needs: str
    run: Callable[[World, Path, random.Random], str]


KINDS: dict[str, Kind] = {}
Run = Callable[[World, Path, random.Random], str]


def kind(name: str, *, share: float = 1.0, needs: str = "") -> Callable[[Run], Run]:
    """Add a function to the catalogue."""

    def add(run: Run) -> Run:
        assert name not in KINDS, name
        KINDS[name] = Kind(name, share, needs, run)
        return run

    return add
