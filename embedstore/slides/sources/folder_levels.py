"""What the nested folders above ready-made tiles mean: class, patient, or split."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median_high

from embedstore.quantities import first_few

SPLIT = re.compile(r"train(ing)?|val(id(ation)?)?|test(ing)?|fold[ _-]?\d+", re.IGNORECASE)
MAGNIFICATION = re.compile(r"x?\d+(\.\d+)?x|x\d+(\.\d+)?|\d+(\.\d+)?(px|mpp|um|µm)", re.IGNORECASE)
# How much a name looks like an identifier.
WORD, NUMBER, NUMBERED, IDENTIFIER = range(4)
NUMBERED_WORD = re.compile(r"\d{1,2}[ _.-]+\D+")  # 01_TUMOR
KIND_OF_FILE = re.compile(r"(mask|image|tile|patche?|annotation|label|thumb(nail)?|overlay)s?", re.IGNORECASE)
LONG_NUMBER = re.compile(r"\d{3}|^TCGA-")
FEW = 20  # a task has no more classes

Path = tuple[str, ...]  # the names of nested folders, the outermost first


@dataclass(frozen=True, kw_only=True)
class FolderLevels:
    """The meaning of each level of folders; level 0 lies directly in the tile folder.

    Attributes:
        names: The distinct names at each level.
        label, patient, split: The level that names the class, the patient and the split; None where none does.
        one_set: The folders belong together; otherwise those at level 0 are tile folders of their own.
        doubts: Why this may be wrong.
    """

    names: tuple[tuple[str, ...], ...] = ()
    label: int | None = None
    patient: int | None = None
    split: int | None = None
    one_set: bool = True
    doubts: tuple[str, ...] = ()

    def meaning(self) -> str:
        """Which level was taken as what, in words."""
        meanings = {self.label: "class", self.patient: "patient", self.split: "split"}
        meanings.pop(None, None)
        if not meanings.keys() - {self.split}:
            return "no class: no labels.csv, and no folder that names one"
        if self.label is None:
            return "no class: sub-folders look like slides or patients; a labels.csv would name classes"
        if len(self.names) == 1:
            return "the sub-folder is the class"
        levels = [
            f"{meanings.get(level, 'not used')} ({first_few(names)})" if level != self.label else "class"
            for level, names in enumerate(self.names)
        ]
        return f"sub-folders are {' / '.join(levels)}; a labels.csv would overrule them"


@dataclass(frozen=True, kw_only=True)
class _Level:
    """One level of folders.

    Attributes:
        at: Its depth, from 0.
        names: The distinct names.
        likeness: How much they look like identifiers.
        repeats: At least half of the names occur under several folders.
    """

    at: int
    names: tuple[str, ...]
    likeness: int
    repeats: bool = False

    @property
    def is_scale(self) -> bool:
        return all(map(MAGNIFICATION.fullmatch, self.names))

    @property
    def as_class(self) -> tuple[int, bool, bool]:
        """Sorts the level that names the class first."""
        return self.likeness, len(self.names) > FEW, not self.repeats


def read_levels(folders: Iterable[Path]) -> FolderLevels:
    """Decide what the names of folders mean, from the names alone.

    A level of train, valid and test, or of folds, is the split. One of magnifications (40X), or of a single name, means
    nothing beside others. Of the other levels, the class is the one whose names look least like identifiers; then one
    with few names, one whose names repeat under several parents, and the one with fewest names. The level whose names
    look most like identifiers is the patient; of patient/slide the outer one.

    Args:
        folders: Each folder that has tiles directly in it, relative to the tile folder.
    """
    paths = sorted(set(folders))
    depth = max(map(len, paths), default=0)
    names = [tuple(sorted({path[at] for path in paths if len(path) > at})) for at in range(depth)]
    split = next((at for at in range(depth) if all(map(SPLIT.fullmatch, names[at]))), None)
    levels = [_level(paths, at, names, split) for at in range(depth) if at != split]
    named = [level for level in levels if not level.is_scale]
    varying = [level for level in named if len(level.names) > 1]
    constant = [level for level in named if len(level.names) == 1]
    label = min(varying or constant[-1:], key=lambda level: (*level.as_class, len(level.names)), default=None)
    patient = max(
        (level for level in varying if level is not label and _names_patients(level, label)),
        key=lambda level: (level.likeness, -level.at),  # of patient/slide the patient
        default=None,
    )
    if varying == [label] and label is not None and label.likeness == IDENTIFIER and len(label.names) > 1:
        label, patient = (constant[-1] if constant else None), label  # a folder for each slide or patient
    return FolderLevels(
        names=tuple(names),
        label=None if label is None else label.at,
        patient=None if patient is None else patient.at,
        split=split,
        one_set=_belong_together(paths, levels, varying),
        doubts=tuple(_doubts(label, patient, levels)),
    )


def _level(paths: Sequence[Path], at: int, names: Sequence[tuple[str, ...]], split: int | None) -> _Level:
    above = [i for i in range(at) if i != split and len(names[i]) > 1]  # the same name in train and test is no repeat
    parents: dict[str, set[Path]] = {name: set() for name in names[at]}
    for path in paths:
        if len(path) > at:
            parents[path[at]].add(tuple(path[i] for i in above))
    repeating = sum(len(places) > 1 for places in parents.values())
    return _Level(
        at=at,
        names=names[at],
        likeness=median_high(map(_likeness, names[at])),
        repeats=2 * repeating >= len(parents),
    )


def _likeness(name: str) -> int:
    if NUMBERED_WORD.fullmatch(name):
        return WORD
    if LONG_NUMBER.search(name):
        return IDENTIFIER
    if name.isdigit():
        return NUMBER
    return NUMBERED if any(map(str.isdigit, name)) else WORD


def _names_patients(level: _Level, label: _Level | None) -> bool:
    """Whether a level besides the class is the patient: its names are identifiers, or each has the same classes."""
    return level.likeness > WORD or (label is not None and label.repeats and level.at < label.at)


def _belong_together(paths: Sequence[Path], levels: Sequence[_Level], varying: Sequence[_Level]) -> bool:
    """Whether the folders are one set of tiles, and not several sets side by side."""
    if len(levels) <= 1:
        return True
    first, *lower = levels
    if len(first.names) == 1:
        return False  # the set is the one folder in it
    if any(level.repeats or level.likeness >= NUMBERED for level in lower if level in varying):
        return True
    if all((level.repeats or level.is_scale) and level not in varying for level in lower):
        return True  # normal/images, tumour/images
    # P1/normal, P2/tumour: sets of one class each would be of no use
    return len({path[: lower[0].at + 1] for path in paths}) == len(first.names)


def _doubts(label: _Level | None, patient: _Level | None, levels: Sequence[_Level]) -> Iterator[str]:
    overrule = "a labels.csv (file, label, split, patient) tells what they are"
    for level in levels:
        if level.is_scale and len(level.names) > 1:
            yield f"tiles of several magnifications ({first_few(level.names)}) are in one set, and stay as they are"
    if label is None or len(label.names) < 2:
        return
    some = first_few(label.names)
    if any(map(KIND_OF_FILE.fullmatch, label.names)):
        yield f"the classes {some} look like kinds of files; give the folder of the images alone"
    elif len(label.names) > FEW:
        yield f"{len(label.names)} classes ({some}) are many; if they are patients or slides, {overrule}"
    elif label.likeness >= NUMBERED and patient is None:
        yield f"the classes {some} look like identifiers; if they are patients or slides, {overrule}"
    elif patient is not None and patient.likeness == label.likeness:
        yield f"classes ({some}) and patients ({first_few(patient.names)}) could be the other way round; {overrule}"
