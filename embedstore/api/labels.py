"""Labels of a store: read from files, listed, exported, removed."""

import getpass
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa

from embedstore.access_errors import tells_access_errors
from embedstore.errors import ConfigError, LabelError
from embedstore.result_table import Table
from embedstore.settings import as_names
from embedstore.store import Label
from embedstore.store import Store as StoreTables

if TYPE_CHECKING:
    from embedstore.labels import LabelImport
    from embedstore.labels.exporting import Written as LabelFile


@tells_access_errors
class Labels:
    """The labels of a store. A label assigns a place on a slide, a slide or a patient to a class of a task."""

    def __init__(self, tables: StoreTables):
        self._tables = tables

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
        return Table(pa.Table.from_pylist(rows), title="labels")

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
        return labels if dry_run else replace(labels, replaced=labels.write(self._tables))

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
        labels = [
            label
            for label in Label.from_table(self._tables.labels.of_task(task))
            if (not chosen or label.slide_id in chosen) and (author is None or label.author == author)
        ]
        if not labels:
            raise LabelError(f"no label of task {task!r} is of that slide and author; `embedstore label ls` shows them")
        slide_rows = {slide.slide_id: slide for slide in self._tables.ledger.slides()}
        return write_labels(labels, slide_rows, Path(out), task=task, origin=origin)

    def count(
        self,
        task: str,
        *,
        slide_id: str | None = None,
        label: str | None = None,
        author: str | None = None,
        source: str | None = None,
    ) -> int:
        """Number of labels of a task that meet every condition given.

        Raises:
            TaskNotFoundError: no label is of the task.
        """
        conditions = {"slide_id": slide_id, "label": label, "author": author, "source": source}
        rows = self._tables.labels.of_task(task).select(list(conditions)).to_pylist()
        return sum(all(value is None or row[name] == value for name, value in conditions.items()) for row in rows)

    def remove(
        self,
        task: str,
        *,
        slide_id: str | None = None,
        label: str | None = None,
        author: str | None = None,
        source: str | None = None,
    ) -> int:
        """Remove labels of a task: all, or those that meet every condition given.

        They are gone from the files after `Store.compact(keep_hours=0)`.

        Returns:
            Number of labels removed.
        Raises:
            TaskNotFoundError: no label is of the task.
        """
        self._tables.labels.of_task(task)
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
