"""The import of label files: read all, check all, then write at once."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import shapely

from embedstore.config import require
from embedstore.errors import LabelError, LabelFormatError
from embedstore.labels.files.annotations import Annotation, AnnotationFile, Origin, subtract
from embedstore.labels.files.asap_xml import read_asap
from embedstore.labels.files.coordinate_frames import level_0
from embedstore.labels.files.geojson import read_geojson
from embedstore.labels.files.label_table import read_label_table, table_places
from embedstore.labels.files.slide_names import SlideNames
from embedstore.store import Label, SlideRow, Store
from embedstore.store.labels import INGEST

Format = Literal["auto", "geojson", "asap", "table"]
SUFFIXES = {
    ".geojson": "geojson", ".json": "geojson", ".xml": "asap", ".csv": "table", ".tsv": "table", ".parquet": "table",
}  # fmt: skip
WHOLE_SLIDE = "slide"  # of `within`


@dataclass(frozen=True, kw_only=True)
class ImportConfig:
    """What files of labels mean.

    Attributes:
        task: The question that they answer.
        author: Who gave the labels.
        format: `geojson`, `asap`, `table`, or `auto`: by the file's ending.
        slide: The slide that annotations are about; by the file's name when None.
        origin: Where coordinates begin; `bounds` for GeoJSON and `level0` for others when None. What a file says of
            itself wins.
        class_map: New names of classes.
        only: Classes to take, by their new names; all when empty.
        exclude: Classes whose areas are cut out of the others', by their new names.
        negative: The class of all that is not annotated.
        within: Where `negative` holds: `slide`, or in the areas of this class.
        collection: Where tile ids are looked up; in all collections when None.
    """

    task: str
    author: str
    format: Format = "auto"
    slide: str | None = None
    origin: Origin | None = None
    class_map: Mapping[str, str] = field(default_factory=dict)
    only: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    negative: str | None = None
    within: str = WHOLE_SLIDE
    collection: str | None = None

    def __post_init__(self) -> None:
        require(
            self.format in ("auto", *SUFFIXES.values()), f"format is {self.format!r}; expected geojson, asap, table"
        )
        require(bool(self.task.strip()), "the task has no name; expected one with --task")
        require(bool(self.author.strip()), "the author has no name; expected one with --author")
        require(self.author != INGEST, f"the author {INGEST!r} stands for what ingest found in folders; name another")
        require(self.origin in (None, "bounds", "level0"), f"origin is {self.origin!r}; expected bounds or level0")
        require(
            self.within == WHOLE_SLIDE or self.negative is not None,
            f"within {self.within!r} says where a negative class holds; name that class with --negative",
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class ReadFile:
    """What came of one file.

    Attributes:
        path: The file.
        format: As it was read.
        slides: The slides that it is about.
        labels: Its labels.
        skipped: Why shapes or rows of it were left out, and how many.
        notes: What a user should know.
    """

    path: Path
    format: str
    slides: tuple[str, ...]
    labels: tuple[Label, ...]
    skipped: Mapping[str, int]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelImport:
    """Labels that are ready to be written, and what is to be said of them.

    Attributes:
        config: What was asked for.
        files: What came of each file.
        conflicts: Places that labels of the files, or of the store, give two classes; both are kept.
        notes: What a user should know.
        replaced: Labels that the files held before and no longer do, once these are written.
    """

    config: ImportConfig
    files: tuple[ReadFile, ...]
    conflicts: tuple[str, ...]
    notes: tuple[str, ...]
    replaced: int = 0

    @property
    def labels(self) -> list[Label]:
        """All labels, one that a file says twice only once."""
        return list(dict.fromkeys(label for file in self.files for label in file.labels))

    def write(self, store: Store) -> int:
        """Write the labels; what the same author had from the same files for the task goes. Returns how many went."""
        sources = [str(file.path.absolute()) for file in self.files]
        return store.labels.replace(self.config.task, self.labels, author=self.config.author, sources=sources)


def find_label_files(paths: Sequence[str | Path], form: Format = "auto") -> list[Path]:
    """The files that paths mean; of a folder, all annotations below it (tables are named one by one).

    What is hidden, and the tables of a store that lies in the folder, are passed over.

    Raises:
        LabelFormatError: nothing stands at a path, or a folder holds no file of the format.
    """
    files: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            forms = ("geojson", "asap") if form == "auto" else (form,)
            below = [file for file in sorted(path.rglob("*")) if _suffix_format(file) in forms and file.is_file()]
            below = [file for file in below if not any(map(_passed_over, file.relative_to(path).parts))]
            if not below:
                raise LabelFormatError(f"folder {path} holds no file of format {' or '.join(forms)}")
            files += below
        elif path.is_file():
            files.append(path)
        else:
            raise LabelFormatError(f"no file or folder at {str(path)!r}")
    return list(dict.fromkeys(files))


def _passed_over(part: str) -> bool:
    return part.startswith(".") or part.endswith(".lance")


def _suffix_format(path: Path) -> str | None:
    name = path.with_suffix("") if path.suffix.lower() == ".gz" else path
    return SUFFIXES.get(name.suffix.lower())


def read_labels(store: Store, paths: Sequence[str | Path], config: ImportConfig) -> LabelImport:
    """Read files of labels and check them against the store; nothing is written.

    Args:
        store: Where the slides are.
        paths: Files, and folders of annotations.
        config: What they mean.
    Raises:
        LabelFormatError: a file is of another format, or malformed.
        SlideNotInStoreError, TileNotFoundError: a file is about what the store does not have.
        LabelError: labels lie outside of their slide, no label is left, or a class is named that no file has.
    """
    slides = {slide.slide_id: slide for slide in store.ledger.slides()}
    names = SlideNames(slides)
    given_slide = None if config.slide is None else names.one(config.slide)
    files: list[ReadFile] = []
    seen: set[str] = set()
    for path in find_label_files(paths, config.format):
        form = _suffix_format(path) if config.format == "auto" else config.format
        if form is None:
            raise LabelFormatError(
                f"{path}: what format is it? expected one of {', '.join(SUFFIXES)}; --format says which it is"
            )
        if form == "table":
            files.append(_read_table(store, path, config, given_slide, seen))
        else:
            read = read_geojson if form == "geojson" else read_asap
            file = read(path, named={config.within, *config.only, *config.exclude, *config.class_map})
            slide_id = given_slide or (file.slide_id if file.slide_id in slides else names.of_file(path))
            files.append(_read_annotations(file, form, slides[slide_id], config, seen))
    _check_classes(seen, config)
    if not any(file.labels for file in files):
        skipped = _total(file.skipped for file in files)
        raise LabelError(
            f"no label in {', '.join(str(file.path) for file in files[:3])}: "
            f"{_counted(skipped) or 'they are empty'}; classify the annotations in QuPath (or pass other --only), "
            "or say with --negative CLASS what a slide without annotations is"
        )
    labels = LabelImport(config=config, files=tuple(files), conflicts=(), notes=tuple(_notes(files, slides, config)))
    sources = [str(file.path.absolute()) for file in files]
    conflicts = store.labels.conflicts(config.task, labels.labels, author=config.author, sources=sources)
    return replace(labels, conflicts=tuple(conflicts))


def _check_classes(seen: set[str], config: ImportConfig) -> None:
    """Every class that was named must be in a file; `seen` has old and new names."""
    asked = {"class-map": config.class_map, "only": config.only, "exclude": config.exclude}
    if config.within != WHOLE_SLIDE:
        asked["within"] = (config.within,)
    for option, classes in asked.items():
        unknown = [name for name in classes if name not in seen]
        if unknown:
            raise LabelError(
                f"--{option} names class {', '.join(unknown)}, which no file has; "
                f"they have {', '.join(sorted(seen)) or 'no class'}"
            )


def _new_name(label: str, groups: Sequence[str], config: ImportConfig) -> str:
    """The class's name by the map, which may also name a group that it is part of."""
    return next((config.class_map[name] for name in (label, *groups) if name in config.class_map), label)


# -- tables -----------------------------------------------------------------------------------


def _read_table(store: Store, path: Path, config: ImportConfig, slide: str | None, seen: set[str]) -> ReadFile:
    table = read_label_table(path, task=config.task)
    origin = config.origin or "level0"
    places = table_places(table, store, collection=config.collection, slide=slide, origin=origin)
    common: dict[str, Any] = {"task": config.task, "author": config.author, "source": str(path.absolute())}
    seen.update(name for name in table.rows.column("label").unique().to_pylist())
    skipped = Counter(table.skipped)
    labels = []
    for place, label, split in zip(places, table.list("label"), table.list("split"), strict=True):
        name = _new_name(label, (), config)
        seen.add(name)
        if config.only and name not in config.only:
            skipped["not of the classes asked for"] += 1
        else:
            labels.append(Label(label=name, split=split, **place, **common))
    about = tuple(sorted({place["slide_id"] for place in places if place["slide_id"] is not None}))
    if config.negative is not None and config.within == WHOLE_SLIDE:
        labels += [Label(kind="rest", label=config.negative, slide_id=one, **common) for one in about]
    return ReadFile(path=path, format="table", slides=about, labels=tuple(labels), skipped=+skipped)


# -- annotations ------------------------------------------------------------------------------


def _read_annotations(
    file: AnnotationFile, form: str, slide: SlideRow, config: ImportConfig, seen: set[str]
) -> ReadFile:
    default: Origin = "bounds" if form == "geojson" else "level0"
    origin = file.origin or config.origin or default
    shapes = level_0([annotation.geometry for annotation in file.annotations], slide, origin=origin, where=file.path)
    annotations = [
        replace(annotation, geometry=shape, label=_new_name(annotation.label, annotation.groups, config))
        for annotation, shape in zip(file.annotations, shapes, strict=True)
    ]
    for old, new in zip(file.annotations, annotations, strict=True):
        seen.update((old.label, *old.groups, new.label))
    skipped = Counter(file.skipped)
    annotations, covered = _without_excluded(annotations, config.exclude)
    skipped["of excluded classes, or wholly within them"] += covered
    common: dict[str, Any] = {"task": config.task, "author": config.author, "source": str(file.path.absolute())}
    common["slide_id"] = slide.slide_id
    labels = []
    notes = list(file.notes)
    for annotation in annotations:
        bounds_rest = config.within != WHOLE_SLIDE and annotation.label == config.within
        if bounds_rest and annotation.geometry.geom_type != "Point":
            annotation = replace(annotation, label=str(config.negative), rest=True)
        elif config.only and annotation.label not in config.only:
            skipped["not of the classes asked for"] += 1
            continue
        labels.append(_label(annotation, common))
    labels += [Label(kind="rest", label=name, **common) for name in file.rest]
    if config.negative is not None and config.within == WHOLE_SLIDE:
        labels.append(Label(kind="rest", label=config.negative, **common))
    elif config.negative is not None and not any(label.kind == "rest" for label in labels):
        notes.append(
            f"{file.path.name} has no area of class {config.within}: nothing on its slide is {config.negative}"
        )
    return ReadFile(
        path=file.path,
        format=form,
        slides=(slide.slide_id,),
        labels=tuple(labels),
        skipped=+skipped,
        notes=tuple(notes),
    )


def _label(annotation: Annotation, common: Mapping[str, Any]) -> Label:
    shape = annotation.geometry
    own: dict[str, Any] = {
        "label": annotation.label,
        "split": annotation.split,
        "patient": annotation.patient,
        **common,
    }
    if shape.geom_type == "Point":
        return Label(kind="point", x=float(shape.x), y=float(shape.y), **own)
    return Label(kind="rest" if annotation.rest else "area", geometry=shapely.to_wkb(shape), **own)


def _without_excluded(annotations: list[Annotation], exclude: Sequence[str]) -> tuple[list[Annotation], int]:
    """Drawings of the other classes, their areas cut; and how many are gone."""
    cut = [annotation.geometry for annotation in annotations if annotation.label in exclude]
    if not cut:
        return annotations, 0
    away = shapely.union_all(np.array(cut, object))
    left = []
    for annotation in annotations:
        if annotation.label in exclude:
            continue
        if annotation.geometry.geom_type == "Point":
            if not shapely.intersects(away, annotation.geometry):
                left.append(annotation)
            continue
        shape = subtract(annotation.geometry, away)
        if shape is not None:
            left.append(replace(annotation, geometry=shape))
    return left, len(annotations) - len(left)


# -- notes ------------------------------------------------------------------------------------


def _total(counts: Iterator[Mapping[str, int]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for count in counts:
        total.update(count)
    return total


def _counted(skipped: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {why}" for why, count in sorted(skipped.items()))


def _notes(files: Sequence[ReadFile], slides: Mapping[str, SlideRow], config: ImportConfig) -> Iterator[str]:
    for file in files:
        yield from file.notes
        if file.skipped:
            yield f"{file.path.name}: skipped {_counted(file.skipped)}"
        if not file.labels:
            yield f"{file.path.name} gives no label"
    unknown = [
        name
        for file in files
        if file.format == "geojson" and config.origin != "level0"
        for name in file.slides
        if slides[name].bounds_x is None
    ]
    if unknown:
        yield (
            f"the store does not know the bounds of {', '.join(unknown[:3])}{', …' if len(unknown) > 3 else ''} "
            "(ingested by an older embedstore): coordinates are taken to begin at level 0; "
            "`embedstore ingest --force` records them"
        )
