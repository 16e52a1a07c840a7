"""Exports over HTTP: a job writes the file, which is then fetched."""

import shutil
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from embedstore.client.connection import Connection, path
from embedstore.client.jobs import run_job
from embedstore.errors import ExportError
from embedstore.export_format import SUFFIXES, ExportFormat, ServedFormat, format_of, require_place
from embedstore.output_files import atomic_write, slide_path
from embedstore.progress import OnProgress
from embedstore.settings import as_names
from embedstore.temporary_folder import temporary_folder

if TYPE_CHECKING:
    from embedstore.export import ExportResult


def export_over(
    connection: Connection,
    out: str | Path,
    *,
    format: ExportFormat | None,
    on_progress: OnProgress | None,
    head: str | None = None,
    collection: str | None = None,
    slides: Sequence[str] = (),
    where: str | None = None,
    **settings: Any,
) -> "ExportResult":
    """Have a service export, and write the files on this machine; arguments and errors as of `Store.export`."""
    out = Path(out)
    chosen = format_of(out, format)
    if chosen not in get_args(ServedFormat):
        raise ExportError(
            f"{chosen} copies the patient from the slide's file, which a service does not show; export it where the "
            "store is"
        )
    require_place(out, chosen)
    body = {
        "format": chosen, "head": head, "collection": collection, "slides": list(as_names(slides)), "where": where,
        "settings": settings,
    }  # fmt: skip
    job = connection.post("/api/exports", {name: value for name, value in body.items() if value})
    result = run_job(connection, job, on_progress)
    fetched = path("jobs", job["id"], "file")
    if result["file"]["name"].endswith(".zip"):
        return _of_zip(connection, fetched, out, chosen, result)
    (only,) = result["files"]
    target = out
    if chosen in SUFFIXES:
        target = slide_path(out, only["slide_id"], SUFFIXES[chosen], single=True)
    with atomic_write(target) as part:
        connection.download(fetched, part)
    return _result(result, [target])


def _of_zip(
    connection: Connection, fetched: str, out: Path, chosen: ExportFormat, result: dict[str, Any]
) -> "ExportResult":
    """Fetch a file for each slide, which come as one ZIP."""
    targets = [slide_path(out, entry["slide_id"], SUFFIXES[chosen], single=False) for entry in result["files"]]
    with temporary_folder("export") as folder:
        packed = Path(folder, "files.zip")
        connection.download(fetched, packed)
        with zipfile.ZipFile(packed) as archive:
            for entry, target in zip(result["files"], targets, strict=True):
                with atomic_write(target) as part, archive.open(entry["name"]) as source, part.open("wb") as file:
                    shutil.copyfileobj(source, file)
    return _result(result, targets)


def _result(result: dict[str, Any], targets: Sequence[Path]) -> "ExportResult":
    from embedstore.export import ExportedFile, ExportResult

    files = tuple(
        ExportedFile(path=target, rows=entry["rows"], slide_id=entry["slide_id"])
        for entry, target in zip(result["files"], targets, strict=True)
    )
    return ExportResult(slides=result["slides"], files=files, unit=result["unit"], notes=tuple(result["notes"]))
