"""Exports over HTTP: a job writes the file, which is then fetched."""

import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embedstore.client.connection import Connection, path
from embedstore.client.jobs import run_job
from embedstore.errors import ExportError
from embedstore.export_format import ONE_FILE, SUFFIXES, ExportFormat, format_of
from embedstore.output_files import atomic_write, require_file, require_folder, slide_path
from embedstore.progress import OnProgress
from embedstore.settings import as_names

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
    if chosen in SUFFIXES and out.suffix.lower() != SUFFIXES[chosen]:
        require_folder(out)
    elif out.is_dir():
        raise ExportError(f"{out} is a folder; {chosen} writes one file, such as {out / ONE_FILE[chosen]}")
    else:
        require_file(out)
    body = {
        "format": chosen, "head": head, "collection": collection, "slides": list(as_names(slides)), "where": where,
        "settings": settings,
    }  # fmt: skip
    job = connection.post("/api/exports", {name: value for name, value in body.items() if value})
    result = run_job(connection, job, on_progress)
    with tempfile.TemporaryDirectory() as folder:
        fetched = Path(folder, "file")
        with connection.download(path("jobs", job["id"], "file")) as pieces, fetched.open("wb") as file:
            file.writelines(pieces)
        return _placed(fetched, out, chosen, result)


def _placed(fetched: Path, out: Path, chosen: ExportFormat, result: dict[str, Any]) -> "ExportResult":
    """Put what was fetched where it is wanted: a file for each slide comes as a ZIP where there are several."""
    from embedstore.export import ExportedFile, ExportResult

    files = []
    packed = result["file"]["name"].endswith(".zip")
    for entry in result["files"]:
        target = out
        if chosen in SUFFIXES:
            target = slide_path(out, entry["slide_id"], SUFFIXES[chosen], single=len(result["files"]) == 1)
        with atomic_write(target) as part:
            if packed:
                with zipfile.ZipFile(fetched) as archive:
                    part.write_bytes(archive.read(entry["name"]))
            else:
                part.write_bytes(fetched.read_bytes())
        files.append(ExportedFile(path=target, rows=entry["rows"], slide_id=entry["slide_id"]))
    return ExportResult(slides=result["slides"], files=tuple(files), unit=result["unit"], notes=tuple(result["notes"]))
