"""The process in which vectors are read; `process.py` starts it and talks to it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embedstore.child_server import answer_requests
from embedstore.errors import FeatureFileError, LayoutError
from embedstore.layouts.layout import Entry, Features, SlideFacts
from embedstore.layouts.opened import OpenedFeatures
from embedstore.layouts.process import MOST_BYTES, MOST_CPU_S
from embedstore.layouts.registry import layout_named, layout_of


def serve(connection_fd: int) -> None:
    """Answer requests until the other side hangs up."""
    server = _Server()

    def unforeseen(error: Exception) -> FeatureFileError:  # of a library, on a file that it does not understand
        return FeatureFileError(f"{server.path} cannot be read: {type(error).__name__}: {error}")

    answer_requests(connection_fd, server, most_bytes=MOST_BYTES, most_cpu_s=MOST_CPU_S, unforeseen=unforeseen)


class _Server:
    """The vectors that are open, and the file that they are of."""

    def __init__(self) -> None:
        self._features: Features | None = None
        self.path: object = None

    def look(self, folder: Path, name: str | None, features: str | None) -> tuple[str, Sequence[Entry]]:
        self.path = folder
        layout = layout_of(folder, name)
        if features is not None and not layout.holds_sets:
            raise LayoutError(
                f"--features {features}: the files of {layout.title} hold one set of vectors each; leave it out, and "
                "give the folder of the set"
            )
        return layout.name, layout.slides(folder, features=features)

    def open(self, layout: str, entry: Entry, slide: SlideFacts) -> OpenedFeatures:
        self.close()
        self.path = entry.features
        self._features = layout_named(layout).open(entry, slide)
        return OpenedFeatures.of(self._features)

    def read(self, start: int, stop: int) -> NDArray[np.floating]:
        assert self._features is not None
        return self._features.read(start, stop)

    def close(self) -> None:
        features, self._features = self._features, None
        if features is not None:
            features.close()
