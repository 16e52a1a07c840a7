"""A split given as a CSV: the part or fold of each patient or slide."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from embedstore.errors import SplitError
from heads.splitting.groups import listed

_KEYS = {"slide_id": "slide_id", "slide": "slide_id", "patient": "patient", "patient_id": "patient"}
_PARTS = ("split", "fold")


@dataclass(frozen=True, kw_only=True)
class SplitFile:
    """A split as it was read from a CSV.

    Attributes:
        path: The file.
        by: Whether its rows name slides or patients.
        parts: Part or fold of each, as the file spells it.
    """

    path: str
    by: Literal["slide_id", "patient"]
    parts: Mapping[str, str]

    def place(
        self, codes: NDArray[Any], names: Sequence[str]
    ) -> tuple[NDArray[np.int32], tuple[str, ...], tuple[str, ...]]:
        """`values` and `value_names` for `make_split`, and notes.

        Args:
            codes: (n,) index of each row's slide or patient, as `by` says, into `names`; -1 where it is not known.
            names: Ids of slides, or patients.
        Returns:
            (n,) int32 index into the names of parts, -1 for a row that the file does not name; these names; notes on
            slides or patients of the file without a label. (`make_split` notes what the file leaves out.)
        Raises:
            SplitError: the file names none of the labelled slides or patients.
        """
        words = {"slide_id": "slides", "patient": "patients"}[self.by]
        value_names = tuple(dict.fromkeys(self.parts.values()))
        index = {name: i for i, name in enumerate(value_names)}
        present = sorted({str(names[code]) for code in np.unique(codes) if code >= 0})
        table = np.array([index.get(self.parts.get(str(name), ""), -1) for name in names] + [-1], np.int32)
        values = table[codes]
        if (values < 0).all():
            raise SplitError(
                f"split file {self.path!r} names none of the {len(present):,} labelled {words}; it has "
                f"{listed(repr(name) for name in self.parts)}, the labels are of "
                f"{listed(repr(name) for name in present)}; write their names as the store has them"
            )
        unlabelled = sorted(set(self.parts) - set(present))
        file, count = Path(self.path).name, len(unlabelled)
        note = f"split file {file}: no label is of {count:,} of its {words}: {listed(unlabelled)}"
        return values, value_names, (note,) if unlabelled else ()


def read_split_file(path: str | Path) -> SplitFile:
    """Read a CSV with a column slide_id (or slide) or patient (or patient_id), and a column split or fold.

    If it has both, slides count. Other columns are ignored. A name may occur more than once if its part is the same
    each time. Names stay as they are written: '007' is not 7.

    Raises:
        SplitError: the file does not exist or lacks a column, a row lacks a value, or a name has two parts.
    """
    name = str(path)
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            lines = list(csv.reader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SplitError(f"split file {name!r} cannot be read: {error}") from error
    header = [cell.strip().lower() for cell in lines[0]] if lines else []
    keys = sorted((column for column in header if column in _KEYS), key=list(_KEYS).index)
    parts = [column for column in header if column in _PARTS]
    if not keys or len(parts) != 1:
        raise SplitError(
            f"split file {name!r} has the columns {listed(header) or '(none)'}; expected one of slide_id and patient, "
            "and one of split and fold"
        )
    at, part_at = header.index(keys[0]), header.index(parts[0])
    part_of: dict[str, str] = {}
    for number, line in enumerate(lines[1:], start=2):
        if not any(cell.strip() for cell in line):
            continue
        key, part = (line[i].strip() if i < len(line) else "" for i in (at, part_at))
        if not key or not part:
            raise SplitError(f"split file {name!r}, line {number}: no {keys[0] if not key else parts[0]}")
        if part_of.setdefault(key, part) != part:
            raise SplitError(
                f"split file {name!r}, line {number}: {keys[0]} {key!r} is of {part!r} here, of {part_of[key]!r} "
                "above; expected one part each"
            )
    if not part_of:
        raise SplitError(f"split file {name!r} has a header and no rows")
    by: Literal["slide_id", "patient"] = "patient" if _KEYS[keys[0]] == "patient" else "slide_id"
    return SplitFile(path=name, by=by, parts=part_of)
