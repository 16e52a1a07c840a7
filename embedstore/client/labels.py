"""Labels of a store that a service serves; as `embedstore.Labels`. Their author is whom the token names."""

import contextlib
import datetime as dt
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa

from embedstore.arguments import checks_arguments
from embedstore.client.connection import Connection, path
from embedstore.client.not_remote import only_at_store
from embedstore.errors import ConfigError, EmbedStoreError, ExportError, LabelFormatError, NotAllowedError
from embedstore.output_files import atomic_write, require_file, require_folder
from embedstore.result_table import Table
from embedstore.settings import as_names
from embedstore.text_files import read_file

if TYPE_CHECKING:
    from embedstore.labels.exporting import Written as LabelFile
    from embedstore.labels.given import Rows
    from embedstore.store import LabelChange

#: Endings of the files of a folder that are read, by format.
SUFFIXES = {
    "auto": (".geojson", ".json", ".xml"),
    "geojson": (".geojson", ".json"),
    "asap": (".xml",),
    "table": (".csv",),
}
#: Largest label file that a service takes, bytes.
MOST_FILE_BYTES = 32 << 20


@dataclass(frozen=True, kw_only=True)
class RemoteLabelImport:
    """What label files held that were sent to a service.

    Attributes:
        files: The files.
        counts: {class: number of its labels}.
        replaced: How many labels of the store the files no longer hold.
        conflicts: The first places that have two classes.
        notes: Warnings for the user.
        changes: Ids of the changes, to undo them; none of a dry run.
    """

    files: tuple[Path, ...]
    counts: Mapping[str, int]
    replaced: int = 0
    conflicts: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        lines = [f"{sum(self.counts.values())} labels of {len(self.files)} file(s)"]
        lines += [f"  {name}: {count}" for name, count in sorted(self.counts.items())]
        lines += [f"  {self.replaced} older labels withdrawn"] if self.replaced else []
        lines += [f"  {len(self.conflicts)} place(s) have two classes; see .conflicts"] if self.conflicts else []
        return "\n".join([*lines, *(f"  note: {note}" for note in self.notes)])


@checks_arguments
class RemoteLabels:
    """The labels of a store, over HTTP. Methods, arguments and errors are those of `embedstore.Labels`.

    The author of a change is whom the token names: `author` may be left out, or say the same.
    """

    def __init__(self, connection: Connection):
        self._connection = connection

    of_slides = only_at_store("Labels.of_slides")

    @property
    def tasks(self) -> list[str]:
        """Names of the tasks that have labels."""
        return sorted(set(self.summary()["task"])) if len(self.summary()) else []

    def summary(self, task: str | None = None) -> Table:
        """Number of labels by task, class, kind, author and file, and when they were made.

        Raises:
            TaskNotFoundError: no label is of the task.
        """
        rows = self._connection.table("/api/labels")
        if task is not None:
            if not len(rows) or task not in rows["task"].to_pylist():
                self.table(task)  # its error suggests similar names
            rows = rows.filter(pa.compute.equal(rows["task"], task))
        return Table(rows, title="labels")

    def table(self, task: str) -> Table:
        """Every label of a task that stands, a row each.

        Raises:
            TaskNotFoundError: no label is of the task.
        """
        rows = self._connection.table(_path(task))
        names = ["key" if name == "label_key" else name for name in rows.column_names]
        return Table(rows.rename_columns(names), title=f"labels of {task}")

    def read(
        self,
        files: str | Path | Sequence[str | Path],
        *,
        task: str,
        author: str | None = None,
        dry_run: bool = False,
        **settings: Any,
    ) -> RemoteLabelImport:
        """Send label files of this machine to the store: all of them, or after an error none.

        Arguments and errors as of `embedstore.Labels.read`. Files that are packed, as .parquet and .xlsx are, have to
        be written as CSV. Where one of several files is refused after others were taken in, those are undone.
        """
        self._require_caller(author)
        suffixes = SUFFIXES.get(settings.get("format", "auto"), ())
        chosen = [path for given in _listed(files) for path in _files_of(Path(given), suffixes)]
        params = _params_of(settings)
        if dry_run or len(chosen) > 1:
            checked = [self._send(file, task, params, dry_run=True) for file in chosen]
        if dry_run:
            return _import_of(chosen, checked)
        taken: list[dict[str, Any]] = []
        try:
            for file in chosen:
                taken.append(self._send(file, task, params, dry_run=False))
        except BaseException:
            for done in reversed(taken):
                with contextlib.suppress(EmbedStoreError):
                    if done["change"] is not None:
                        self.undo(task, done["change"])
            raise
        return _import_of(chosen, taken)

    def _send(self, file: Path, task: str, params: Mapping[str, Any], *, dry_run: bool) -> dict[str, Any]:
        try:
            content = read_file(file, limit_bytes=MOST_FILE_BYTES)
        except (OSError, ValueError) as error:
            raise LabelFormatError(f"label file {file} cannot be read: {error}") from error
        return self._connection.post_bytes(
            _path(task, "import"), content, kind="application/octet-stream", reads=dry_run, name=file.name,
            dry_run=dry_run, **params,
        )  # fmt: skip

    def add(
        self, task: str, labels: "Rows", *, author: str | None = None, collection: str | None = None
    ) -> "LabelChange":
        """Add labels, all of them or after an error none; arguments and errors as of `embedstore.Labels.add`."""
        self._require_caller(author)
        body = {"labels": _rows(labels), "collection": collection}
        return _change(self._connection.post(_path(task, "add"), body))

    def withdraw(
        self,
        task: str,
        keys: Sequence[str] = (),
        *,
        places: "Rows | None" = None,
        author: str | None = None,
        of: str | None = None,
        collection: str | None = None,
    ) -> "LabelChange":
        """Withdraw labels: they count no more, and stay in the store with who withdrew them and when.

        Arguments and errors as of `embedstore.Labels.withdraw`.
        """
        self._require_caller(author)
        if (places is None) == (not keys):
            raise ConfigError("expected either the keys of the labels to be withdrawn, or their places")
        body = {
            "keys": list(as_names(keys)), "places": None if places is None else _rows(places), "of": of,
            "collection": collection,
        }  # fmt: skip
        return _change(self._connection.post(_path(task, "withdraw"), body))

    def undo(self, task: str, change: str | None = None, *, author: str | None = None) -> "LabelChange":
        """Undo a change of labels: what it added is withdrawn, and what it withdrew stands again.

        Arguments and errors as of `embedstore.Labels.undo`.
        """
        self._require_caller(author)
        return _change(self._connection.post(_path(task, "undo"), {"change": change}))

    def history(self, task: str | None = None) -> Table:
        """The changes of labels, a row each, from the first to the last; columns as of `embedstore.Labels.history`."""
        tasks = self.tasks if task is None else [task]
        parts = [self._connection.table(_path(name, "history")) for name in tasks]
        rows = pa.concat_tables(parts).sort_by("at") if parts else pa.table({})
        return Table(rows, title="changes of labels")

    def disagreements(self, task: str) -> Table:
        """The places that authors give different classes, a row each; columns as of `embedstore.Labels.disagreements`.

        Raises:
            TaskNotFoundError: no label is of the task.
        """
        return Table(self._connection.table(_path(task, "disagreements")), title=f"disagreements on {task}")

    def agreement(self, task: str) -> Table:
        """How well each two authors agree; columns as of `embedstore.Labels.agreement`.

        Raises:
            TaskNotFoundError: no label is of the task.
        """
        return Table(self._connection.table(_path(task, "agreement")), title=f"agreement on {task}")

    def export(
        self,
        out: str | Path,
        *,
        task: str,
        slides: Sequence[str] = (),
        author: str | None = None,
        origin: Literal["bounds", "level0"] = "bounds",
    ) -> "list[LabelFile]":
        """Write the labels of a task on this machine so that QuPath opens them and `read` takes them back.

        Arguments and errors as of `embedstore.Labels.export`, but for .parquet.
        """
        from embedstore.labels.exporting import Written

        out = Path(out)
        formats = {".csv": "csv", ".geojson": "geojson"}
        if out.suffix.lower() == ".parquet":
            raise ExportError(f"over HTTP labels come as .csv, as .geojson or in a folder, not as {out.name}")
        chosen = formats.get(out.suffix.lower(), "zip")
        if chosen == "zip":
            require_folder(out, or_file="a .csv or .geojson file")
        else:
            require_file(out)
        content = self._connection.get_bytes(
            _path(task, "export"), accept="*/*", format=chosen, slide_id=list(as_names(slides)) or None, author=author,
            origin=origin,
        )  # fmt: skip
        files = {out: content}
        if chosen == "zip":
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                files = {out / name: archive.read(name) for name in archive.namelist() if _is_inside(name)}
        for file, data in files.items():
            with atomic_write(file) as part:
                part.write_bytes(data)
        return [Written(path=file, labels=_count(file, data)) for file, data in files.items()]

    export_benchmark = only_at_store("Labels.export_benchmark")

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
        conditions = {"slide_id": slide_id, "label": label, "author": author, "source": source}
        return self._connection.get(_path(task, "count"), **conditions)["labels"]

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

        Returns:
            Number of labels removed.
        Raises:
            TaskNotFoundError: no label is of the task.
        """
        body = {"slide_id": slide_id, "label": label, "author": author, "source": source}
        return self._connection.post(_path(task, "remove"), body)["labels"]

    def _require_caller(self, author: str | None) -> None:
        """Raise NotAllowedError if an author is given that is not whom the token names."""
        if author is not None and author != (caller := self._connection.get("/api")["caller"]):
            raise NotAllowedError(
                f"labels over HTTP are of whom the token names, {caller}, not of {author}; leave the author out, or "
                "connect with a token of theirs"
            )

    def __repr__(self) -> str:
        return repr(self.summary())

    def _repr_html_(self) -> str:
        return self.summary()._repr_html_()


def _path(task: str, *parts: str) -> str:
    return path("labels", task, *parts)


def _listed(files: str | Path | Sequence[str | Path]) -> Sequence[str | Path]:
    return [files] if isinstance(files, str | Path) else list(files)


def _files_of(given: Path, suffixes: Sequence[str]) -> list[Path]:
    """A file, or the label files of a folder and the folders in it."""
    if not given.is_dir():
        return [given]
    found = sorted(file for file in given.rglob("*") if file.suffix.lower() in suffixes and file.is_file())
    if not found:
        raise LabelFormatError(f"folder {given} has no label file; expected {', '.join(suffixes)}")
    return found


def _params_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of `ImportConfig` as parameters of the route."""
    params: dict[str, Any] = {}
    for name, value in settings.items():
        if name == "class_map":
            params[name] = [f"{old}={new}" for old, new in dict(value).items()]
        elif name == "slide":
            params["slide_id"] = value
        else:
            params[name] = list(as_names(value)) if name in ("only", "exclude") else value
    return params


def _import_of(files: Sequence[Path], answers: Sequence[Mapping[str, Any]]) -> RemoteLabelImport:
    counts: dict[str, int] = {}
    for answer in answers:
        for name, count in answer["counts"].items():
            counts[name] = counts.get(name, 0) + count
    return RemoteLabelImport(
        files=tuple(files),
        counts=counts,
        replaced=sum(answer["replaced"] for answer in answers),
        conflicts=tuple(line for answer in answers for line in answer["conflicts"]),
        notes=tuple(dict.fromkeys(note for answer in answers for note in answer["notes"])),
        changes=tuple(answer["change"] for answer in answers if answer["change"] is not None),
    )


def _rows(rows: Any) -> list[dict[str, Any]]:
    """Rows of labels or places as JSON values: dictionaries, or a table that Arrow reads."""
    if hasattr(rows, "__arrow_c_stream__"):
        rows = pa.table(rows).to_pylist()
    elif hasattr(rows, "columns") and hasattr(rows, "to_numpy"):  # older pandas
        rows = pa.Table.from_pandas(rows, preserve_index=False).to_pylist()
    if not isinstance(rows, Sequence) or not all(isinstance(row, Mapping) for row in rows):
        raise LabelFormatError("the labels given are no rows; expected dictionaries, or a table that Arrow reads")
    return [{_name(name): _value(name, value) for name, value in row.items() if value is not None} for row in rows]


def _name(name: str) -> str:
    return "label" if name == "class" else name


def _value(name: str, value: Any) -> Any:
    if name == "tile_id":
        return str(value)
    if name == "geometry" and isinstance(value, bytes):
        import shapely

        return json.loads(shapely.to_geojson(shapely.from_wkb(value)))
    if name == "geometry" and isinstance(value, str):
        return json.loads(value)
    return value.item() if hasattr(value, "item") else value  # a number of NumPy


def _change(answer: Mapping[str, Any]) -> "LabelChange":
    from embedstore.store import LabelChange

    return LabelChange(
        id=answer["change"], task=answer["task"], author=answer["author"], at=dt.datetime.fromisoformat(answer["at"]),
        added=answer["added"], withdrawn=answer["withdrawn"], undoes=answer["undoes"], notes=tuple(answer["notes"]),
    )  # fmt: skip


def _is_inside(name: str) -> bool:
    """Whether the name of an entry of a ZIP stays in the folder that it is unpacked to."""
    return not name.endswith("/") and not Path(name).is_absolute() and ".." not in Path(name).parts


def _count(file: Path, data: bytes) -> int:
    """Labels in a label file."""
    if file.suffix == ".geojson":
        return len(json.loads(data)["features"])
    import pyarrow.csv

    return pyarrow.csv.read_csv(io.BytesIO(data)).num_rows
