"""A slide's file as pictures are made from it, and the version of what it holds."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from embedstore.errors import SlideNotFoundError
from embedstore.slides import version_now
from embedstore.uris import is_uri


@dataclass(frozen=True, kw_only=True)
class SlideFile:
    """A slide of the store whose pictures are asked for.

    Attributes:
        name: What the slide is called in errors, which whoever asks may read.
        path: Its file, or the folder of its ready-made tiles.
        kind: `wsi`, or `tiles`: a folder of ready-made tiles.
        reader: The reader that ingest chose; `auto` if unknown.
        mpp: Micrometres per level-0 pixel, as used by ingest; the file's own when None.
    """

    name: str
    path: str
    kind: Literal["wsi", "tiles"] = "wsi"
    reader: str = "auto"
    mpp: float | None = None

    def stamp(self) -> str:
        """What changes with the content of the file: of its path, size and time.

        Raises:
            SlideNotFoundError: it is no longer where it was ingested from.
        """
        if is_uri(self.path):
            return self._digest(version_now(self.path, kind=self.kind))
        try:
            found = Path(self.path).stat()
        except (OSError, ValueError) as error:
            raise SlideNotFoundError(
                f"slide {self.name!r} is no longer where it was ingested from, so it cannot be shown; bring it back "
                "there, or ingest it again from where it is with --force"
            ) from error
        size = found.st_size if self.kind == "wsi" else 0
        return self._digest(f"{size}\0{found.st_mtime_ns}")

    def _digest(self, version: str) -> str:
        text = f"{self.path}\0{self.reader}\0{self.mpp}\0{version}"
        return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:32]

    def in_own_words(self, error: Exception) -> str:
        """The message of an error with the slide's name in the place of its path."""
        return str(error).replace(self.path, self.name)
