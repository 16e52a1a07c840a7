"""Import of label files: all are read and checked before anything is written."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import shapely

from embedstore.annotations import Annotation, AnnotationFile, Origin, read_asap, read_geojson, subtract
from embedstore.class_names import alike_note, new_task_note
from embedstore.config import Settings, require
from embedstore.errors import LabelError, LabelFormatError
from embedstore.labels.files.coordinate_frames import level_0, slide_frame
from embedstore.labels.files.label_table import read_label_table, table_labels, without_unknown_slides
from embedstore.labels.files.left_out import LeftOut, folders_that_are_closed
from embedstore.labels.files.slide_names import SlideNames
from embedstore.quantities import first_few
from embedstore.store import Label, SlideRow, Store
from embedstore.store.label import INGEST, distinct_labels, label_rows, statement_rows
from embedstore.tables import TABLE_SUFFIXES
from embedstore.uris import as_store

Format = Literal["auto", "geojson", "asap", "table"]
SUFFIXES = {".geojson": "geojson", ".json": "geojson", ".xml": "asap", **dict.fromkeys(sorted(TABLE_SUFFIXES), "table")}
SHOWN_NOTES = 5  # of an import that a notebook shows; a folder of 500 files has a note for each
WHOLE_SLIDE = "slide"  # a value of `within`


@dataclass(frozen=True, kw_only=True)
class ImportConfig(Settings):
    """How label files are to be read.

    Attributes:
        task: The question that the labels answer.
        author: Who gave the labels.
        format: `geojson`, `asap`, `table`, or `auto`: by the file's ending.
        slide: The slide that annotations are about; found by the file's name when None.
        origin: Where coordinates begin; `bounds` for GeoJSON and `level0` for others when None. A file that states its
            origin is read by that.
        class_map: {class in the file: its new name}.
        only: Classes to import, by their new names; all when empty.
        exclude: Classes whose areas are cut out of those of other classes, by their new names.
        negative: The class of everything that is not annotated.
        within: Where `negative` applies: `slide`, or inside the areas of this class.
        unclassified: The class of annotations that have none; they are left out when None.
        skip_unknown_slides: Leave out the files and rows of slides that the store lacks; an error when False.
        skip_invalid: Leave out files and annotations that are malformed; an error when False.
        collection: Where tile ids are looked up; in all collections when None.
        source: What labels name as their file, such as the name of one that was sent here; the file's path when None.
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
    unclassified: str | None = None
    skip_unknown_slides: bool = False
    skip_invalid: bool = False
    collection: str | None = None
    source: str | None = None

    def source_of(self, path: Path) -> str:
        """What the labels of a file name as their file."""
        return str(path.absolute()) if self.source is None else self.source

    def __post_init__(self) -> None:
        super().__post_init__()
        require(bool(self.task.strip()), "the task has no name; expected one with --task")
        require(bool(self.author.strip()), "the author has no name; expected one with --author")
        require(self.author != INGEST, f"the author {INGEST!r} stands for what ingest found in folders; name another")
        for option, classes in (("only", self.only), ("exclude", self.exclude), ("within", (self.within,))):
            for name in classes:
                require(
                    name not in self.class_map or name in self.class_map.values(),
                    f"--{option} names class {name!r}, which --class-map renames to {self.class_map.get(name)!r}; "
                    "name the new class",
                )
        require(
            self.within == WHOLE_SLIDE or self.negative is not None,
            f"within {self.within!r} says where a negative class holds; name that class with --negative",
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class ReadFile:
    """The labels of one file.

    Attributes:
        path: The file.
        format: The format that it was read as.
        slides: The slides that it is about.
        rows: Its labels, as rows of the table of labels without their keys.
        skipped: {why shapes or rows were left out: how many}.
        notes: Warnings for the user.
    """

    path: Path
    format: str
    slides: tuple[str, ...]
    rows: pa.Table
    skipped: Mapping[str, int]
    notes: tuple[str, ...] = ()

    @cached_property
    def labels(self) -> tuple[Label, ...]:
        """Its labels; a million of them take a gigabyte."""
        return tuple(Label.from_table(self.rows))


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelImport:
    """Labels read from files, ready to be written.

    Attributes:
        config: How the files were read.
        files: The labels of each file.
        rows: All labels without duplicates, as rows of the table of labels.
        conflicts: Places that have two classes, by these labels or by those in the store; both are kept.
        notes: Warnings for the user.
        replaced: How many labels in the store were withdrawn because the files no longer hold them; 0 before writing.
        change: The id of the change, to undo it; None before writing, and where nothing changed.
    """

    config: ImportConfig
    files: tuple[ReadFile, ...]
    rows: pa.Table
    conflicts: tuple[str, ...]
    notes: tuple[str, ...]
    replaced: int = 0
    change: str | None = None

    @cached_property
    def labels(self) -> list[Label]:
        """All labels, without duplicates; a million of them take a gigabyte."""
        return Label.from_table(self.rows)

    @property
    def counts(self) -> dict[str, int]:
        """{class: number of its labels}."""
        counted = self.rows.column("label").value_counts().to_pylist()
        return dict(sorted((row["values"], row["counts"]) for row in counted))

    def summary(self) -> list[dict[str, Any]]:
        """How many labels there are of each `class` and `kind`: `labels`, and on how many `slides`."""
        counted = self.rows.group_by(["label", "kind"]).aggregate([([], "count_all"), ("slide_id", "count_distinct")])
        names = {"class": "label", "kind": "kind", "labels": "count_all", "slides": "slide_id_count_distinct"}
        rows = [{ours: row[theirs] for ours, theirs in names.items()} for row in counted.to_pylist()]
        return sorted(rows, key=lambda row: (row["class"], row["kind"]))

    def __repr__(self) -> str:
        lines = [f"{len(self.rows)} labels of {len(self.files)} file(s) for task {self.config.task!r}"]
        lines += sorted(f"  {row['class']} ({row['kind']}): {row['labels']}" for row in self.summary())
        lines += [f"  {self.replaced} older labels withdrawn"] if self.replaced else []
        lines += [f"  {len(self.conflicts)} place(s) have two classes; see .conflicts"] if self.conflicts else []
        lines += [f"  note: {note}" for note in self.notes[:SHOWN_NOTES]]
        lines += [f"  … {more} more in .notes"] if (more := len(self.notes) - SHOWN_NOTES) > 0 else []
        return "\n".join(lines)

    def write(self, store: Store) -> "LabelImport":
        """Replace what the same author had from these files for the task; returns the import as it was written."""
        sources = [self.config.source_of(file.path) for file in self.files]
        change = store.labels.replace(self.config.task, self.rows, author=self.config.author, sources=sources)
        return replace(self, replaced=change.withdrawn, change=change.id)


def find_label_files(
    paths: Sequence[str | Path], file_format: Format = "auto", *, closed: list[Path] | None = None
) -> list[Path]:
    """The given files, and all annotations below given folders; with `auto`, tables must be given one by one.

    Hidden files, and the tables of a store inside a folder, are skipped.

    Args:
        paths: Files and folders.
        file_format: Which files of folders are meant.
        closed: Takes the folders that this user may not read.
    Raises:
        LabelFormatError: a path does not exist, or a folder holds no file of the format.
    """
    closed = [] if closed is None else closed
    files: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            formats = ("geojson", "asap") if file_format == "auto" else (file_format,)
            below = [file for file in _files_below(path, closed) if _suffix_format(file) in formats and file.is_file()]
            if not below:
                but = f"; {folders_that_are_closed(closed)}" if closed else ""
                store = f"; {said}" if (said := as_store(path)) else ""
                raise LabelFormatError(f"folder {path} holds no file of format {' or '.join(formats)}{but}{store}")
            files += sorted(below)
        elif path.is_file():
            files.append(path)
        else:
            raise LabelFormatError(f"no file or folder at {str(path)!r}")
    return list(dict.fromkeys(files))


def _files_below(folder: Path, closed: list[Path]) -> Iterator[Path]:
    """What a folder and those below it hold beside folders; `closed` takes those that may not be read."""
    for parent, folders, names in os.walk(folder, onerror=lambda error: closed.append(Path(error.filename))):
        folders[:] = [name for name in folders if not _is_skipped(name)]
        if os.access(parent, os.X_OK):
            yield from (Path(parent, name) for name in names if not _is_skipped(name))
        else:  # names may be listed, and no file opened
            closed.append(Path(parent))


def _is_skipped(part: str) -> bool:
    return part.startswith(".") or part.endswith(".lance")


def _suffix_format(path: Path) -> str | None:
    name = path.with_suffix("") if path.suffix.lower() in (".gz", ".zip") else path
    return SUFFIXES.get(name.suffix.lower())


def read_labels(store: Store, paths: Sequence[str | Path], config: ImportConfig) -> LabelImport:
    """Read files of labels and check them against the store; nothing is written.

    Args:
        store: Where the slides are.
        paths: Files, and folders of annotations.
        config: How to read them.
    Raises:
        LabelFormatError: a file is malformed, or of another format.
        SlideNotInStoreError, TileNotFoundError: a file is about a slide or tile that the store lacks.
        LabelError: labels lie outside their slide, no label is left, or no file has a class that `config` names.
    """
    slides = {slide.slide_id: slide for slide in store.ledger.slides()}
    names = SlideNames(slides)
    given_slide = None if config.slide is None else names.one(config.slide)
    files: list[ReadFile] = []
    classes: set[str] = set()
    left_out = LeftOut(
        given=set(map(Path, paths)), skip_unknown=config.skip_unknown_slides, skip_invalid=config.skip_invalid
    )
    for path in find_label_files(paths, config.format, closed=left_out.closed):
        file_format = _suffix_format(path) if config.format == "auto" else config.format
        if file_format is None:
            raise LabelFormatError(
                f"{path}: unknown format; expected one of {', '.join(SUFFIXES)}; give the format with --format"
            )
        if file_format == "table":
            files.append(_read_table(store, path, config, given_slide, classes))
            continue
        with left_out.watch(path):
            read = read_geojson if file_format == "geojson" else read_asap
            file = read(path, skip_invalid=config.skip_invalid).classified(
                named={config.within, *config.only, *config.exclude, *config.class_map},
                unclassified=config.unclassified,
            )
            slide_id = given_slide or _slide_of(file, names)
            files.append(_read_annotations(file, file_format, slides[slide_id], config, classes))
    left_out.check()
    if not files:
        raise LabelError(f"no file is left to import; {'; '.join(left_out.notes())}")
    _check_classes(classes, config)
    if not any(len(file.rows) for file in files):
        skipped = sum((Counter(file.skipped) for file in files), Counter())
        raise LabelError(
            f"no label in {', '.join(str(file.path) for file in files[:3])}: "
            f"{_counted(skipped) or 'they are empty'}; classify the annotations, give those "
            "without a class one with --unclassified, pass other --only, or say with --negative CLASS what a slide "
            "without annotations is"
        )
    stored = store.labels.table(task=config.task, columns=["label"]).column("label").unique().to_pylist()
    named = {name for file in files for name in file.rows.column("label").unique().to_pylist()}
    about_task = () if stored else new_task_note(config.task, store.labels.tasks())
    notes = (*left_out.notes(), *_notes(files, slides, config), *alike_note({*named, *stored}), *about_task)
    rows = distinct_labels(label_rows(pa.concat_tables([file.rows for file in files])))
    sources = [config.source_of(file.path) for file in files]
    conflicts = store.labels.conflicts(config.task, rows, author=config.author, sources=sources)
    return LabelImport(config=config, files=tuple(files), rows=rows, conflicts=tuple(conflicts), notes=notes)


def _slide_of(file: AnnotationFile, names: SlideNames) -> str:
    """The slide that a file of annotations names, or the one that it is named like."""
    stated = names.find(file.slide_id) if file.slide_id else []
    return stated[0] if len(stated) == 1 else names.of_file(file.path)


def _check_classes(classes: set[str], config: ImportConfig) -> None:
    """Every class that `config` names must be in a file; `classes` has the files' names and the new ones."""
    options = {"class-map": config.class_map, "only": config.only, "exclude": config.exclude}
    if config.within != WHOLE_SLIDE:
        options["within"] = (config.within,)
    for option, names in options.items():
        unknown = [name for name in names if name not in classes]
        if unknown:
            raise LabelError(
                f"--{option} names class {', '.join(unknown)}, which no file has; "
                f"they have {', '.join(sorted(classes)) or 'no class'}"
            )


def _new_name(label: str, groups: Sequence[str], config: ImportConfig) -> str:
    """The new name of a class; the map may name the class or a group that it is part of."""
    return next((config.class_map[name] for name in (label, *groups) if name in config.class_map), label)


# -- tables -----------------------------------------------------------------------------------


def _read_table(store: Store, path: Path, config: ImportConfig, slide: str | None, classes: set[str]) -> ReadFile:
    """Labels of a table; its classes, old and new names, are added to `classes`."""
    table = read_label_table(path, task=config.task)
    if config.skip_unknown_slides:
        table = without_unknown_slides(table, store, slide=slide)
    rows = table_labels(
        table,
        store,
        task=config.task,
        author=config.author,
        class_map=config.class_map,
        collection=config.collection,
        slide=slide,
        origin=config.origin or "level0",
        source=config.source_of(path),
    )
    for each in (table.rows, rows):
        classes.update(each.column("label").unique().to_pylist())
    asked_for = pc.is_in(rows.column("label"), value_set=pa.array(config.only, pa.string()))
    labels = rows.filter(asked_for) if config.only else rows
    skipped = Counter(table.skipped)
    skipped["not of the classes asked for"] += len(rows) - len(labels)
    slides = tuple(sorted(set(rows.column("slide_id").unique().to_pylist()) - {None}))
    if config.negative is not None and config.within == WHOLE_SLIDE:
        rests = [_rest_of_slide(config.negative, slide_id, config, path) for slide_id in slides]
        labels = pa.concat_tables([labels, statement_rows(rests)])
    return ReadFile(
        path=path,
        format="table",
        slides=slides,
        rows=labels,
        skipped=+skipped,
        notes=table.notes,
    )


def _rest_of_slide(label: str, slide_id: str, config: ImportConfig, path: Path) -> Label:
    """The label of everything on a slide that no other label is about."""
    source = config.source_of(path)
    return Label(kind="rest", label=label, slide_id=slide_id, task=config.task, author=config.author, source=source)


# -- annotations ------------------------------------------------------------------------------


def _read_annotations(
    file: AnnotationFile, file_format: str, slide: SlideRow, config: ImportConfig, classes: set[str]
) -> ReadFile:
    """Labels of a file of annotations; its classes, old and new names, are added to `classes`."""
    origin = file.begins(config.origin)
    drawn = [annotation.geometry for annotation in file.annotations]
    stated = file.origin is not None
    shapes = level_0(drawn, slide, origin=origin, where=file.path, stated=stated)
    annotations = [
        replace(annotation, geometry=shape, label=_new_name(annotation.label, annotation.groups, config))
        for annotation, shape in zip(file.annotations, shapes, strict=True)
    ]
    for old, new in zip(file.annotations, annotations, strict=True):
        classes.update((old.label, *old.groups, new.label))
    skipped = Counter(file.skipped)
    annotations, covered = _without_excluded(annotations, config.exclude)
    skipped["of excluded classes, or wholly within them"] += covered

    labels = []
    for annotation in annotations:
        bounds_rest = config.within != WHOLE_SLIDE and annotation.label == config.within
        if bounds_rest and annotation.geometry.geom_type != "Point":
            annotation = replace(annotation, label=str(config.negative), rest=True)
        elif config.only and annotation.label not in config.only:
            skipped["not of the classes asked for"] += 1
            continue
        labels.append(_label(annotation, slide.slide_id, config, file.path))
    labels += [_rest_of_slide(name, slide.slide_id, config, file.path) for name in file.rest]
    over_the_edge = slide_frame(slide, stated=stated).note(drawn, origin, file.path)
    notes = [*file.notes, *([over_the_edge] if over_the_edge else [])]
    if config.negative is not None and config.within == WHOLE_SLIDE:
        labels.append(_rest_of_slide(config.negative, slide.slide_id, config, file.path))
    elif config.negative is not None and not any(label.kind == "rest" for label in labels):
        notes.append(
            f"{file.path.name} has no area of class {config.within}: nothing on its slide is {config.negative}"
        )
    return ReadFile(
        path=file.path,
        format=file_format,
        slides=(slide.slide_id,),
        rows=statement_rows(labels),
        skipped=+skipped,
        notes=tuple(notes),
    )


def _label(annotation: Annotation, slide_id: str, config: ImportConfig, path: Path) -> Label:
    shape = annotation.geometry
    is_point = shape.geom_type == "Point"
    return Label(
        task=config.task,
        label=annotation.label,
        kind="point" if is_point else "rest" if annotation.rest else "area",
        slide_id=slide_id,
        x=float(shape.x) if is_point else None,
        y=float(shape.y) if is_point else None,
        geometry=None if is_point else shapely.to_wkb(shape),
        split=annotation.split,
        patient=annotation.patient,
        author=config.author,
        source=config.source_of(path),
    )


def _without_excluded(annotations: list[Annotation], exclude: Sequence[str]) -> tuple[list[Annotation], int]:
    """Annotations of the other classes, with the excluded areas cut out; and how many are left out."""
    areas = [annotation.geometry for annotation in annotations if annotation.label in exclude]
    if not areas:
        return annotations, 0
    excluded = shapely.union_all(np.array(areas, object))
    kept = []
    for annotation in annotations:
        if annotation.label in exclude:
            continue
        if annotation.geometry.geom_type == "Point":
            if not shapely.intersects(excluded, annotation.geometry):
                kept.append(annotation)
            continue
        shape = subtract(annotation.geometry, excluded)
        if shape is not None:
            kept.append(replace(annotation, geometry=shape))
    return kept, len(annotations) - len(kept)


# -- notes ------------------------------------------------------------------------------------


def _counted(skipped: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {why}" for why, count in sorted(skipped.items()))


def _notes(files: Sequence[ReadFile], slides: Mapping[str, SlideRow], config: ImportConfig) -> Iterator[str]:
    for file in files:
        yield from file.notes
        if file.skipped:
            yield f"{file.path.name}: skipped {_counted(file.skipped)}"
        if not len(file.rows):
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
            f"the store does not know the bounds of {first_few(unknown)} "
            "(ingested by an older embedstore): coordinates are taken to begin at level 0; "
            "`embedstore ingest --force` records them"
        )
