"""What the paths given to ingest were understood as, in a few lines and as plain values."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from embedstore.errors import one_line

SHOWN = 3  # examples that are kept of what was left out
LONGEST = 60  # characters of a name that are shown
SHOWN_FOLDERS = 5  # tile folders that have a line of their own

#: {kind: (what it is, what can be done about it)} of files and folders that are left out.
WHY_LEFT_OUT = {
    "beside slides": ("images beside slides", "to take them as tiles, give their folder, or list them in a labels.csv"),
    "named": ("image files", "give their folder to take them as tiles; a whole slide is wanted as a tiled TIFF"),
    "beside tiles": ("images beside tile folders", "to take them as tiles, give their folder itself"),
    "not text": ("names that are not in UTF-8", "rename these files or folders"),
    "unreadable": ("folders that cannot be read", "allow this user to read them"),
    "foreign": ("slides in formats that OpenSlide does not open", "convert them to tiled TIFF or DICOM"),
    "zarr": ("Zarr folders without an image", "features of LazySlide and tiatoolbox are read by embedstore import"),
    "zarr image": ("further images of Zarr folders", "to take one as well, name its own folder"),
    "mirax": ("data of MIRAX slides without their .mrxs file", "copy the .mrxs file beside the folder"),
    "packed": ("packed files", "unpack them, and give their folder"),
    "table": ("tables", "labels of tiles are read from a labels.csv; lists of slides are given themselves"),
    "special": ("pipes, sockets or devices", ""),
    "again": ("links to folders that were read already", ""),
    "deep": ("folders within more than 64 others", "give them themselves"),
    "system": ("folders of the file system or of another program", ""),
    "hidden": ("hidden files and folders", ""),
    "not whole": ("DICOM files that are no whole-slide images", ""),
    "other": ("other files", ""),
}


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """Files or folders of one kind that were left out.

    Attributes:
        what: What they are, in the plural.
        count: How many.
        examples: Paths of the first few, relative to the folder given.
        next_step: How to take them up all the same; "" where that makes no sense.
    """

    what: str
    count: int
    examples: tuple[str, ...]
    next_step: str = ""

    def __str__(self) -> str:
        shown = ", ".join(self.examples) + (", …" if self.count > len(self.examples) else "")
        return f"{self.what}: {self.count:,} ({shown})" + (f"; {self.next_step}" if self.next_step else "")


class LeftOutFiles:
    """Counts what a search leaves out."""

    def __init__(self, root: Path):
        self._root = root
        self._counts: Counter[str] = Counter()
        self._examples: dict[str, list[str]] = {}

    def add(self, kind: str, path: Path, reason: str | None = None, *, count: int = 1) -> None:
        """Count a file or folder, or several at one place; `kind` is a key of WHY_LEFT_OUT."""
        self._counts[kind] += count
        examples = self._examples.setdefault(kind, [])
        if len(examples) < SHOWN:
            is_within = path != self._root and path.is_relative_to(self._root)
            name = str(path.relative_to(self._root) if is_within else path)
            name = name.encode(errors="backslashreplace").decode()
            short = name if len(name) <= LONGEST else f"…{name[-LONGEST:]}"
            examples.append(f"{short}: {reason}" if reason else short)

    def as_tuple(self) -> tuple[LeftOut, ...]:
        """What was left out, what matters most first."""
        return tuple(
            LeftOut(what=what, count=self._counts[kind], examples=tuple(self._examples[kind]), next_step=next_step)
            for kind, (what, next_step) in WHY_LEFT_OUT.items()
            if self._counts[kind]
        )


@dataclass(frozen=True, kw_only=True)
class TileFolderSummary:
    """What a folder of ready-made tiles was understood as.

    Attributes:
        classes, splits: {name: number of tiles}.
        patients: Number of patients.
        meaning: Where the classes and patients come from, in words.
    """

    slide_id: str
    path: str
    tiles: int
    classes: Mapping[str, int] = field(default_factory=dict)
    splits: Mapping[str, int] = field(default_factory=dict)
    patients: int = 0
    meaning: str = ""

    def __str__(self) -> str:
        facts = [f"{self.tiles:,} tile(s)"]
        if self.classes:
            facts.append(f"{len(self.classes):,} class(es): {_counts(self.classes)}")
            unlabelled = self.tiles - sum(self.classes.values())
            facts += [f"{unlabelled:,} without a class"] if unlabelled else []
        if self.splits:
            facts.append(f"splits: {_counts(self.splits)}")
        if self.patients:
            facts.append(f"{self.patients:,} patient(s)")
        return f"tile folder {self.slide_id!r}: " + "; ".join(facts) + f" ({self.meaning})"


@dataclass(frozen=True, kw_only=True)
class SourceSummary:
    """What the paths given to ingest were understood as.

    Attributes:
        slides: {format: number of slides}; the format is the suffix, or DICOM.
        tile_folders: Folders of ready-made tiles, each of which counts as a slide.
        patients: Number of patients that lists of slides name.
        with_patient: Number of slides that have one.
        left_out: What was not taken.
        notes: What else was read, such as a slides.csv.
        warnings: What is possible, but improbable.
    """

    slides: Mapping[str, int] = field(default_factory=dict)
    tile_folders: tuple[TileFolderSummary, ...] = ()
    patients: int = 0
    with_patient: int = 0
    left_out: tuple[LeftOut, ...] = ()
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """What was understood, a sentence a line."""
        slides = sum(self.slides.values())
        parts = [f"{slides:,} slide(s): {_counts(self.slides)}"] if slides else []
        if self.tile_folders:
            parts.append(f"{len(self.tile_folders):,} folder(s) of ready-made tiles")
        total = slides + len(self.tile_folders)
        if self.patients:
            parts.append(f"{self.patients:,} patient(s), of {self.with_patient:,} of {total:,} slide(s)")
        lines = [f"found {', '.join(parts)}"] if parts else []
        lines += map(str, self.tile_folders[:SHOWN_FOLDERS])
        if (more := len(self.tile_folders) - SHOWN_FOLDERS) > 0:
            lines.append(f"… and {more:,} more tile folders")
        lines += self.notes
        lines += [f"left out: {part}" for part in self.left_out]
        return [one_line(line) for line in (*lines, *(f"warning: {warning}" for warning in self.warnings))]

    def as_record(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)


def _counts(counts: Mapping[str, int], most: int = 10) -> str:
    """'normal (4), tumour (2)': the names as they come, the first few of many."""
    shown = [f"{name} ({count:,})" for name, count in list(counts.items())[:most]]
    return ", ".join(shown) + (f" and {len(counts) - most:,} more" if len(counts) > most else "")
