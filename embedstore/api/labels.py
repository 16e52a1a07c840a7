"""Labels of a store: read from files, listed, exported, removed."""

import getpass
from collections.abc import Sequence, Set
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from embedstore.access_errors import tells_access_errors
from embedstore.arguments import checks_arguments
from embedstore.errors import ConfigError, LabelError, SlideNotInStoreError
from embedstore.export_format import Benchmark
from embedstore.progress import OnProgress
from embedstore.progress_bar import progress_bar
from embedstore.quantities import first_few
from embedstore.result_table import NotedTable, Table
from embedstore.settings import as_names
from embedstore.store import LabelChange
from embedstore.store import Store as StoreTables
from embedstore.store.label_changes import undone_changes
from embedstore.store.labels import no_such_task

if TYPE_CHECKING:
    from embedstore.labels import LabelImport
    from embedstore.labels.exporting import Written as LabelFile
    from embedstore.labels.given import Rows

#: The columns of `Labels.summary`.
SUMMARY = pa.schema(
    [
        *(pa.field(name, pa.string()) for name in ("task", "label", "kind", "author", "source")),
        *(pa.field(name, pa.int64()) for name in ("labels", "slides")),
        *(pa.field(name, pa.timestamp("us", tz="UTC")) for name in ("first", "last")),
    ]
)
#: The columns of `Labels.history`.
HISTORY = pa.schema(
    [
        pa.field("change", pa.string()),
        pa.field("task", pa.string()),
        pa.field("author", pa.string()),
        pa.field("at", pa.timestamp("us", tz="UTC")),
        pa.field("added", pa.int64()),
        pa.field("withdrawn", pa.int64()),
        pa.field("undoes", pa.string()),
        pa.field("undone_by", pa.string()),
    ]
)


@tells_access_errors
@checks_arguments
class Labels:
    """The labels of a store. A label assigns a place on a slide, a slide or a patient to a class of a task."""

    def __init__(self, tables: StoreTables):
        self._tables = tables

    def of_slides(self, slides: Set[str]) -> "Labels":
        """The labels as somebody sees and changes them who sees only some slides; see `store.Store.of_slides`."""
        return Labels(self._tables.of_slides(slides))

    @property
    def tasks(self) -> list[str]:
        """Names of the tasks that have labels."""
        return sorted({row["task"] for row in self._tables.labels.summary()})

    def summary(self, task: str | None = None) -> Table:
        """Number of labels by task, class, kind, author and file, and when they were made.

        Raises:
            TaskNotFoundError: no label is of the task.
        """
        if task is not None:
            self._tables.labels.of_task(task)
        rows = self._tables.labels.summary(task=task)
        return Table(pa.Table.from_pylist(rows, schema=SUMMARY), title="labels")

    def table(self, task: str) -> Table:
        """Every label of a task, a row each.

        Raises:
            TaskNotFoundError: no label is of the task.
        """
        return Table(self._tables.labels.of_task(task), title=f"labels of {task}")

    def read(
        self,
        files: str | Path | Sequence[str | Path],
        *,
        task: str,
        author: str | None = None,
        dry_run: bool = False,
        **settings: Any,
    ) -> "LabelImport":
        """Read label files into the store: all of them, or after an error none.

        Args:
            files: Annotations of QuPath (GeoJSON) or ASAP (XML), folders of them, or tables (CSV, Parquet). Reading a
                file again replaces what the same author had from it.
            task: The question that the labels answer.
            author: Author of the labels; your login name when None.
            dry_run: Read and check, write nothing.
            settings: Other fields of `ImportConfig`, such as negative="normal", class_map={"_0": "tumour"},
                exclude=("Ignore*",) or slide="a.svs".
        Returns:
            The labels, the number of older labels that were replaced, places with labels of two classes, and notes.
        Raises:
            LabelFormatError: a file cannot be read.
            LabelError, SlideNotInStoreError: a label does not fit the store.
            ConfigError: a setting that does not exist, or a value that it cannot have.
        """
        from embedstore.labels import ImportConfig, read_labels
        from embedstore.settings import build_config

        config = build_config(ImportConfig, None, task=task, author=author or _login(), **settings)
        if not dry_run:
            self._tables.require_writable()
        paths = [files] if isinstance(files, str | Path) else list(files)
        labels = read_labels(self._tables, [Path(path) for path in paths], config)
        if dry_run:
            return labels
        written = labels.write(self._tables)
        self._require_not_removed(written.rows)
        return written

    def add(
        self, task: str, labels: "Rows", *, author: str | None = None, collection: str | None = None
    ) -> LabelChange:
        """Add labels, all of them or after an error none.

        An author has one such label of a task at one place: another class there replaces the older one, which is kept
        as withdrawn. The same class again changes nothing.

        Args:
            task: The question that the labels answer.
            labels: Rows with `label` and a place: `tile_id`; or `slide_id` with `x` and `y` (a point), with `edge_l0`
                as well (a tile), with `name` (a ready-made tile), with `geometry` (GeoJSON or WKB), or alone (the whole
                slide); or `patient`. Coordinates are level-0 pixels. `split` is optional. Dictionaries, or a table that
                Arrow reads, such as one of pandas.
            author: Who gives the labels; your login name when None.
            collection: Where tile ids are looked up; in all collections when None.
        Returns:
            The change, which `undo` takes back; its id is None where nothing changed.
        Raises:
            LabelFormatError: a row lacks what its place needs, or has a field that there is not.
            SlideNotInStoreError, TileNotFoundError: the store lacks what rows are about.
            LabelError: a place lies outside its slide, a class is no name, or two rows give a place different classes.
        """
        from embedstore.class_names import alike_note, new_task_note
        from embedstore.labels import given_labels

        author = author or _login()
        given = given_labels(self._tables, labels, task=task, author=author, collection=collection)
        self._tables.require_writable()
        classes = self._tables.labels.table(task=task, columns=["label"]).column("label").unique().to_pylist()
        about_task = () if classes else new_task_note(task, self.tasks)
        change = self._tables.labels.add(task, given, author=author)
        self._require_not_removed(given)
        return replace(
            change, notes=(*about_task, *alike_note({*classes, *given.column("label").unique().to_pylist()}))
        )

    def _require_not_removed(self, labels: pa.Table) -> None:
        """Remove labels again whose slides or patients were removed from the store while they were written.

        Raises:
            SlideNotInStoreError: there were such.
        """
        known = self._tables.ledger.patients()
        slides = set(labels.column("slide_id").unique().to_pylist()) - {None} - known.keys()
        of_patients = labels.filter(pc.equal(labels.column("kind"), "patient"))
        patients = set(of_patients.column("patient").unique().to_pylist()) - set(known.values())
        if slides or patients:
            gone = sorted(slides), sorted(filter(None, patients))
            StoreTables(self._tables.uri).labels.forget(gone[0], patients=gone[1])
            raise SlideNotInStoreError(
                f"{first_few([*gone[0], *gone[1]])} left the store while it was labelled, and so did these labels"
            )

    def withdraw(
        self,
        task: str,
        keys: Sequence[str] = (),
        *,
        places: "Rows | None" = None,
        author: str | None = None,
        of: str | None = None,
        collection: str | None = None,
    ) -> LabelChange:
        """Withdraw labels: they count no more, and stay in the store with who withdrew them and when.

        Args:
            task: Their task.
            keys: Their keys, as `table` gives them; each must stand.
            places: Rows as of `add`, without a label; the labels at these places, as far as there are any.
            author: Who withdraws them; your login name when None.
            of: Whose labels they are, '*' for anybody's; the author's own when None.
            collection: Where tile ids are looked up; in all collections when None.
        Returns:
            The change, which `undo` takes back.
        Raises:
            ConfigError: neither keys nor places are given, or both.
            LabelError: one of the keys is of no label that stands, no label is at the places, or they are somebody
                else's.
        """
        author = author or _login()
        if (places is None) == (not keys):
            raise ConfigError("expected either the keys of the labels to be withdrawn, or their places")
        if places is None:
            self._tables.require_writable()
            return self._tables.labels.withdraw(task, as_names(keys), author=author, of=of)
        from embedstore.labels import given_labels

        at = given_labels(self._tables, places, task=task, author=author, collection=collection, only_places=True)
        self._tables.require_writable()
        return self._tables.labels.withdraw_at(task, at, author=author, of=of)

    def undo(self, task: str, change: str | None = None, *, author: str | None = None) -> LabelChange:
        """Undo a change of labels: what it added is withdrawn, and what it withdrew stands again.

        To undo is a change too: undo it to have the first one again.

        Args:
            task: Its task.
            change: Its id, as `history` lists it; the author's last change that stands when None.
            author: Who undoes it; your login name when None.
        Raises:
            LabelError: there is no such change, it is undone already, or a later one is about the same places.
        """
        self._tables.require_writable()
        return self._tables.labels.undo(task, change, author=author or _login())

    def history(self, task: str | None = None) -> Table:
        """The changes of labels, a row each, from the first to the last.

        Its columns are `change` (the id), `task`, `author`, `at`, `added`, `withdrawn` (numbers of labels), `undoes`
        and `undone_by`. Labels that came with ingest, or from an older version, are of no change.
        """
        changes = self._tables.labels.changes(task)
        undone = undone_changes(changes)
        rows = [
            {name: getattr(each, name) for name in HISTORY.names[1:-1]}
            | {"change": each.id, "undone_by": undone.get(key)}
            for key, each in changes.items()
        ]
        return Table(pa.Table.from_pylist(rows, schema=HISTORY), title="changes of labels")

    def disagreements(self, task: str) -> Table:
        """The places that authors give different classes, a row each.

        Its columns are those of the place (`kind`, `slide_id`, `name`, `x`, `y`, `edge_l0`, `geometry`, `patient`), and
        for each author the class, as `label_AUTHOR`. An author who labelled a tile or point gives it that class; else
        that of an own area that covers its centre; else that of an own label of the rest. Areas are compared with areas
        of the same geometry, whole slides and patients with themselves.

        Raises:
            TaskNotFoundError: no label is of the task.
        """
        from embedstore.labels.agreement import disagreements, statements

        return Table(
            disagreements(statements(self._tables.labels.of_task(task), task)), title=f"disagreements on {task}"
        )

    def agreement(self, task: str) -> Table:
        """How well each two authors agree on the places that both gave one class, as of `disagreements`.

        Its columns are `author`, `other`, `places`, `equal` (the share with equal classes) and `kappa` (Cohen's).

        Raises:
            TaskNotFoundError: no label is of the task.
        """
        from embedstore.labels.agreement import pairs_of_authors, statements

        return Table(
            pairs_of_authors(statements(self._tables.labels.of_task(task), task)), title=f"agreement on {task}"
        )

    def export(
        self,
        out: str | Path,
        *,
        task: str,
        slides: Sequence[str] = (),
        author: str | None = None,
        origin: Literal["bounds", "level0"] = "bounds",
    ) -> "list[LabelFile]":
        """Write the labels of a task so that QuPath opens them and `read` takes them back.

        Args:
            out: A folder, which gets SLIDE.geojson for what is drawn and labels.csv for the rest; a .csv or .parquet,
                which takes all but areas; or a .geojson for one slide.
            task: The task.
            slides: Only these.
            author: Only labels of this author.
            origin: Where coordinates of GeoJSON begin: `bounds`, the corner of the slide's image as QuPath shows it,
                or `level0`.
        Returns:
            The files, with the number of labels in each.
        Raises:
            LabelError: no label is left.
            ExportError: nothing can be written there.
        """
        from embedstore.labels import write_labels

        chosen = self._tables.ledger.resolve_slides(slides=as_names(slides))
        labels = self._tables.labels.of_task(task)
        if chosen:
            labels = labels.filter(pc.is_in(labels.column("slide_id"), value_set=pa.array(sorted(chosen), pa.string())))
        if author is not None:
            labels = labels.filter(pc.equal(labels.column("author"), author))
        if not len(labels):
            raise LabelError(f"no label of task {task!r} is of that slide and author; `embedstore label ls` shows them")
        slide_rows = {slide.slide_id: slide for slide in self._tables.ledger.slides()}
        return write_labels(labels, slide_rows, Path(out), task=task, origin=origin)

    def export_benchmark(
        self,
        out: str | Path,
        *,
        task: str,
        format: Benchmark,
        head: str | None = None,
        collection: str | None = None,
        site: str | None = None,
        on_progress: OnProgress | None = None,
    ) -> NotedTable:
        """Write the labels of a task, with a split or vectors, in the files of a benchmark.

        Args:
            out: A folder.
            task: The task.
            format: `patho-bench`: labels of slides and folds, whose vectors `Collection.export_layout` writes for
                TRIDENT; `eva`: these with the vectors of their tiles; `pathorob`: labelled tiles with their vectors.
            head: patho-bench, eva: a head of slides or patients whose folds are written; the split that came with the
                labels when None.
            collection: eva, pathorob: the collection of the vectors; the only one when None.
            site: pathorob: the column of the slides that names their medical centre.
            on_progress: See `embedstore.progress`; a progress bar when None.
        Returns:
            The files that were written, with notes.
        Raises:
            TaskNotFoundError, LabelError: the task has no labels of slides, or of tiles.
            HeadNotFoundError, HeadMismatchError: there is no such head, or it is one of tiles.
            ConfigError: a setting that the format does not take, or lacks.
            ExportError: there is no split, a slide has no vectors, or nothing can be written there.
        """
        from embedstore.api.benchmark_export import export_benchmark

        with progress_bar(on_progress) as report:
            paths, notes = export_benchmark(
                self._tables, Path(out), task, format, head=head, collection=collection, site=site, on_progress=report
            )
        rows = pa.table({"path": pa.array([str(path) for path in paths], pa.string())})
        return NotedTable(rows, title=f"files of {format}", notes=notes)

    def count(
        self,
        task: str,
        *,
        slide_id: str | None = None,
        label: str | None = None,
        author: str | None = None,
        source: str | None = None,
    ) -> int:
        """Number of labels of a task that meet every condition given; those withdrawn as well.

        Raises:
            TaskNotFoundError: no label is of the task.
        """
        self._require_any(task)
        return self._tables.labels.count(task, slide_id=slide_id, label=label, author=author, source=source)

    def _require_any(self, task: str) -> None:
        if not self._tables.labels.count(task):
            raise no_such_task(task, self._tables.labels.tasks())

    def remove(
        self,
        task: str,
        *,
        slide_id: str | None = None,
        label: str | None = None,
        author: str | None = None,
        source: str | None = None,
    ) -> int:
        """Remove labels of a task for good: all, or those that meet every condition given; those withdrawn as well.

        They are gone from the files after `Store.compact(keep_hours=0)`.

        Returns:
            Number of labels removed.
        Raises:
            TaskNotFoundError: no label is of the task.
        """
        self._require_any(task)
        return self._tables.labels.remove(task, slide_id=slide_id, label=label, author=author, source=source)

    def __repr__(self) -> str:
        return repr(self.summary())

    def _repr_html_(self) -> str:
        return self.summary()._repr_html_()


def _login() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError) as error:
        raise ConfigError("this system does not tell your login name; give the author (--author, author=)") from error
