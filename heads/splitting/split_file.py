"""A split given as a table: the part or fold of each patient or slide."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from embedstore.errors import SplitError
from embedstore.labels.files.slide_names import SlideNames
from embedstore.tables import PATIENT_COLUMNS, ToolTable, UserTable, read_table, tool_table
from heads.splitting.groups import listed
from heads.splitting.splits import fold_parts

_PARTS = ("split", "fold")


@dataclass(frozen=True, kw_only=True)
class SplitFile:
    """A split as it was read from a table.

    Attributes:
        path: The file.
        by: Whether its rows name slides or patients.
        parts: Part or fold of each, as the file spells it.
        notes: Warnings for the user on how it was read.
    """

    path: str
    by: Literal["slide_id", "patient"]
    parts: Mapping[str, str]
    notes: tuple[str, ...] = ()

    def place(
        self, codes: NDArray[Any], names: Sequence[str]
    ) -> tuple[NDArray[np.int32], tuple[str, ...], tuple[str, ...]]:
        """`values` and `value_names` for `make_split`, and notes.

        Args:
            codes: (n,) index of each row's slide or patient, as `by` says, into `names`; -1 where it is not known.
            names: Ids of slides, or patients.
        Returns:
            (n,) int32 index into the names of parts, -1 for a row that the file does not name; these names; notes on
            how it was read, and on its slides or patients without a label. (`make_split` notes what it leaves out.)
        Raises:
            SplitError: the file names none of the labelled slides or patients, or a slide by a name of several.
        """
        words = {"slide_id": "slides", "patient": "patients"}[self.by]
        parts = self.parts if self.by == "patient" else self._by_slide_id(names)
        value_names = tuple(dict.fromkeys(parts.values()))
        index = {name: i for i, name in enumerate(value_names)}
        present = sorted({str(names[code]) for code in np.unique(codes) if code >= 0})
        table = np.array([index.get(parts.get(str(name), ""), -1) for name in names] + [-1], np.int32)
        values = table[codes]
        if (values < 0).all():
            raise SplitError(
                f"split file {self.path!r} names none of the {len(present):,} labelled {words}; it has "
                f"{listed(repr(name) for name in self.parts)}, the labels are of "
                f"{listed(repr(name) for name in present)}; write their names as the store has them"
            )
        unlabelled = sorted(set(parts) - set(present))
        file, count = Path(self.path).name, len(unlabelled)
        note = f"split file {file}: no label is of {count:,} of its {words}: {listed(unlabelled)}"
        return values, value_names, (*self.notes, *([note] if unlabelled else []))

    def _by_slide_id(self, slide_ids: Sequence[str]) -> dict[str, str]:
        """Parts by the ids of slides, which the file may give without folder and ending."""
        slides = SlideNames(map(str, slide_ids))
        parts: dict[str, str] = {}
        for name, part in self.parts.items():
            slide_id, *others = slides.find(name) or [name]
            if others:
                problem = f"which may be {listed(map(repr, [slide_id, *others]))}"
            elif parts.setdefault(slide_id, part) != part:
                problem = f"{slide_id!r}, of {part!r} here and of {parts[slide_id]!r} by another name"
            else:
                continue
            raise SplitError(
                f"split file {self.path!r} names a slide {name!r}, {problem}; write their names as the store has them"
            )
        return parts


def read_split_file(path: str | Path) -> SplitFile:
    """Read a table with a column slide_id (or slide) or patient (or patient_id), and a column split or fold.

    If it has both, slides count. Other columns are ignored. A name may occur more than once if its part is the same
    each time. Names stay as they are written: '007' is not 7. A split of Patho-Bench (`case_id`, `slide_id`, `fold_0`
    …) is read as it is: each fold has its own parts.

    Raises:
        SplitError: the file cannot be read or lacks a column, a row lacks a value, or a name has two parts.
    """
    table = read_table(path, error=SplitError)
    tool = tool_table(table)
    if tool is not None and tool.folds:
        return _patho_bench_split(table, tool)
    key, parts = table.find("slide_id", "slide", *PATIENT_COLUMNS), [table.find(name) for name in _PARTS]
    part = parts[0] or parts[1]
    if key is None or part is None or all(parts):
        raise table.error(
            f"a split file with the columns {listed(table.names) or '(none)'}; expected one of slide_id and patient, "
            "and one of split and fold"
        )
    part_of: dict[str, str] = {}
    for row, (name, value) in enumerate(zip(table.text(key), table.text(part), strict=True)):
        if name is None or value is None:
            raise table.error(f"no {key if name is None else part}; expected one in each row", [row])
        if part_of.setdefault(name, value) != value:
            raise table.error(
                f"{key} {name!r} is of {value!r} here, of {part_of[name]!r} above; expected one part each", [row]
            )
    if not part_of:
        raise table.error("a split file with a header and no rows")
    by: Literal["slide_id", "patient"] = "slide_id" if key == table.find("slide_id", "slide") else "patient"
    return SplitFile(path=str(path), by=by, parts=part_of, notes=table.notes)


def _patho_bench_split(table: UserTable, tool: ToolTable) -> SplitFile:
    """The part of each slide in every fold."""
    slides = table.text(tool.columns["slide_id"])
    parts = zip(*(table.text(fold) for fold in tool.folds), strict=True)
    part_of: dict[str, str] = {}
    for row, (slide, of_slide) in enumerate(zip(slides, parts, strict=True)):
        if slide is None:
            raise table.error(f"no {tool.columns['slide_id']}; expected one in each row", [row])
        value = fold_parts(tool.folds, of_slide)
        if part_of.setdefault(slide, value) != value:
            raise table.error(f"slide {slide!r} is in other parts here than above; expected the same ones", [row])
    if not part_of:
        raise table.error("a split file with a header and no rows")
    return SplitFile(path=str(table.path), by="slide_id", parts=part_of, notes=table.notes)
