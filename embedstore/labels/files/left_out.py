"""Files of annotations that an import leaves out, or fails at."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from embedstore.errors import EmbedStoreError, LabelError, LabelFormatError, OtherFormatError, SlideNotInStoreError

SHOWN_NAMES = 3  # files that a message names


@dataclass(kw_only=True, eq=False)
class LeftOut:
    """Files of annotations that are not imported, and why.

    Attributes:
        given: The paths that the user gave: a file among them must hold annotations.
        skip_unknown, skip_invalid: Which of them are no error.
        closed: Folders below folders that this user may not read.
        other: Files below folders that hold something else, such as those of a QuPath project.
        unknown, invalid: {file: its error}: the store lacks its slide, or it is malformed.
    """

    given: set[Path]
    skip_unknown: bool
    skip_invalid: bool
    closed: list[Path] = field(default_factory=list)
    other: list[Path] = field(default_factory=list)
    unknown: dict[Path, EmbedStoreError] = field(default_factory=dict)
    invalid: dict[Path, EmbedStoreError] = field(default_factory=dict)

    @contextlib.contextmanager
    def watch(self, path: Path) -> Iterator[None]:
        """Take note of what is wrong with a file, so that one message tells of all of them."""
        try:
            yield
        except OtherFormatError as error:
            if path in self.given or not _is_any_format(path):
                self.invalid[path] = error
            else:
                self.other.append(path)
        except SlideNotInStoreError as error:
            self.unknown[path] = error
        except (LabelFormatError, LabelError) as error:
            self.invalid[path] = error

    def check(self) -> None:
        """Raise the first error, if files with such errors are not to be left out."""
        errors = {} if self.skip_invalid else dict(self.invalid)
        option = "--skip-invalid leaves out what is malformed"
        if not errors and not self.skip_unknown:
            errors, option = self.unknown, "--skip-unknown-slides leaves such files out"
        if not errors:
            return
        first, *others = errors.values()
        also = f"; so it is with {len(others)} more: {_names(list(errors)[1:])}" if others else ""
        raise type(first)(f"{first}{also}; {option}") from first

    def notes(self) -> Iterator[str]:
        """What was left out, for the user."""
        if self.closed:
            yield folders_that_are_closed(self.closed)
        if self.other:
            yield f"passed over {len(self.other)} file(s) that hold no annotations: {_names(self.other)}"
        if self.unknown:
            yield f"left out {len(self.unknown)} file(s) of slides that the store lacks: {_names(list(self.unknown))}"
        yield from (f"left out: {error}" for error in self.invalid.values())


def folders_that_are_closed(folders: Sequence[Path]) -> str:
    """The note about folders that this user may not read."""
    return f"passed over {len(folders)} folder(s) that cannot be read: {_names(folders)}; allow this user to read them"


def _is_any_format(path: Path) -> bool:
    """Whether files with such a name often hold something else than annotations."""
    return path.name.lower().removesuffix(".gz").removesuffix(".zip").endswith((".json", ".xml"))


def _names(paths: Sequence[Path]) -> str:
    return ", ".join([*(path.name for path in paths[:SHOWN_NAMES]), *(["…"] if len(paths) > SHOWN_NAMES else [])])
