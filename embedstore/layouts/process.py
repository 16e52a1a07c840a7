"""Vectors that are read in a process of their own, as slides are: a damaged file can crash or hang its library."""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedstore.child_process import ChildProcess, give_back, take
from embedstore.errors import FeatureFileError, LayoutError, ProcessEndedError
from embedstore.layouts.layout import Entry, Features, Layout, SlideFacts
from embedstore.layouts.opened import OpenedFeatures
from embedstore.layouts.registry import layout_named

CODE = """
import sys
sys.path[:] = sys.argv[2:]
from embedstore.layouts.server import serve
serve(int(sys.argv[1]))
"""
#: No answer for so long is none: 8 MB of vectors take milliseconds, a table of millions of rows seconds.
ANSWER_S = 120.0
#: The same for looking at a folder: a table of all slides is read for their names.
LOOK_S = 600.0
#: Beyond what the process has at its start: places of 50 million tiles take 0.8 GB, and are held twice at most.
MOST_BYTES = 4 << 30
#: Of CPU, for one request: a table of all slides is read from its beginning.
MOST_CPU_S = 100

_idle: list[ChildProcess] = []


def open_apart(layout: str, entry: Entry, slide: SlideFacts, *, answer_s: float = ANSWER_S) -> Features:
    """Open the vectors of a slide, as `Layout.open` does, in a process of its own.

    Args:
        layout: Name of the layout.
        answer_s: Seconds after which a request without an answer ends the process.
    Raises:
        FeatureFileError: as of `Layout.open`; or the process crashed, or gave no answer.
    """
    return _ApartFeatures(layout, entry, slide, answer_s)


def look_apart(folder: Path, name: str | None, features: str | None) -> tuple[Layout, Sequence[Entry]]:
    """The layout of a folder, as of `layout_of`, and its slides, found in a process of its own.

    Args:
        name: Name of the layout; recognised when None.
        features: Which of several sets of vectors, where the layout's files hold several.
    Raises:
        LayoutError: as of `layout_of` and `Layout.slides`; or a file of the folder crashed the process.
    """
    process = take(_idle, _start)
    try:
        found, entries = process.ask("look", folder, name, features, answer_s=LOOK_S)
    except ProcessEndedError as error:
        raise LayoutError(
            f"the process that looked at the files of {folder} {error}: one of them is damaged; say what they are with "
            "--layout, and move damaged files away"
        ) from error
    finally:
        give_back(_idle, process)
    return layout_named(found), entries


class _ApartFeatures(Features):
    """Vectors that are open in another process."""

    def __init__(self, layout: str, entry: Entry, slide: SlideFacts, answer_s: float):
        self._entry, self._answer_s = entry, answer_s
        self._process: ChildProcess | None = take(_idle, _start)
        opened: OpenedFeatures = self._ask("open", layout, entry, slide)
        self.facts, self.xy_l0, self.edge_l0, self.names = opened.facts, opened.xy_l0, opened.edge_l0, opened.names
        self.centred, self.in_tile_px = opened.centred, opened.in_tile_px

    def read(self, start: int, stop: int) -> NDArray[np.floating]:
        return self._ask("read", start, stop)

    def close(self) -> None:
        if self._process is None:
            return
        with contextlib.suppress(FeatureFileError):
            self._ask("close")
        if self._process is not None:
            give_back(_idle, self._process)
            self._process = None

    def _ask(self, method: str, *arguments: Any) -> Any:
        if self._process is None:
            raise FeatureFileError(f"the vectors of slide {self._entry.slide!r} are closed")
        try:
            return self._process.ask(method, *arguments, answer_s=self._answer_s)
        except ProcessEndedError as error:
            self._process = None
            raise FeatureFileError(
                f"{self._entry.features}: the process that read it {error}; the file is damaged; copy it again, or "
                "extract the slide again, then run the same command with --retry-failed"
            ) from error
        except FeatureFileError:
            if method == "open" and self._process is not None:
                give_back(_idle, self._process)
                self._process = None
            raise


def _start() -> ChildProcess:
    return ChildProcess(CODE, what="vectors", most_cpu_s=MOST_CPU_S)
