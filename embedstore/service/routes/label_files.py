"""Files of labels: sent to the store, and fetched from it."""

import io
import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Annotated, Any, Literal

import pyarrow.compute as pc
from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field

from embedstore.errors import ConfigError, LabelError, LabelFormatError, NotAllowedError, TooLargeError
from embedstore.labels import write_labels
from embedstore.service.failures import answers
from embedstore.service.routes.labels import Task, shown_labels
from embedstore.service.visible import SeenByLabeller, SeenByReader
from embedstore.temporary_folder import temporary_folder

router = APIRouter(prefix="/api/labels", tags=["labels"])

#: Largest label file that is taken, bytes: it is read into memory.
MOST_FILE_BYTES = 32 << 20
#: How files that are packed begin: a small one may hold more than memory.
PACKED = (
    b"\x1f\x8b",
    b"PK",
    b"PAR1",
    b"ARROW1",
    b"FEA1",
    b"BZh",
    b"\xfd7zXZ",
    b"\x28\xb5\x2f\xfd",
    b"\xff\xff\xff\xff",
)
SHOWN_CONFLICTS = 100
MEDIA_TYPES = {".csv": "text/csv; charset=utf-8", ".geojson": "application/geo+json", ".zip": "application/zip"}
FILES: dict[int | str, dict[str, Any]] = {200: {"content": {each: {} for each in MEDIA_TYPES.values()}}}


class ImportAnswer(BaseModel):
    """What a label file held, and the change that it made."""

    change: str | None = Field(description="Its id, to undo it; null where nothing changed, and for a dry run.")
    labels: int
    replaced: int = Field(description="Labels that the author had from this file before and that it no longer holds.")
    counts: dict[str, int] = Field(description="Number of labels of each class.")
    conflicts: list[str] = Field(description="The first places with labels of two classes.")
    notes: list[str]


@router.get(
    "/{task:path}/export",
    response_class=Response,
    responses=FILES | answers(),
)
async def export_labels(
    request: Request,
    seen: SeenByReader,
    task: Task,
    format: Annotated[
        Literal["zip", "csv", "geojson"], Query(description="csv holds no areas, geojson one slide, zip all.")
    ] = "zip",
    slide_id: Annotated[list[str] | None, Query(max_length=1000, description="Only these slides.")] = None,
    author: Annotated[str | None, Query(max_length=200, description="Only labels of this author.")] = None,
    origin: Annotated[
        Literal["bounds", "level0"], Query(description="Where coordinates of GeoJSON begin; bounds, as in QuPath.")
    ] = "bounds",
) -> Response:
    """The labels of a task as files that QuPath opens and an import takes back."""

    def write() -> Response:
        slides = {seen.slide(name) for name in slide_id or ()}
        labels = seen.labels() if slide_id is None else seen.labels().of_slides(slides)
        found = labels.table(task).to_arrow()
        for slide in pc.unique(found["slide_id"]).drop_null().to_pylist():
            seen.looked(slide, "labels")
        rows = shown_labels(seen, found)
        if author is not None:
            rows = rows.filter(pc.equal(rows["author"], author))
        if not len(rows):
            raise LabelError(f"no label of task {task!r} is of that author; GET /api/labels shows whose there are")
        frames = {seen.shown_id(row.slide_id): row for row in seen.service.tables.ledger.slides()}
        with temporary_folder("labels") as folder:
            out = Path(folder, "labels") if format == "zip" else Path(folder, f"labels.{format}")
            write_labels(rows, frames, out, task=task, origin=origin)
            content = _zipped(out) if format == "zip" else out.read_bytes()
        headers = {"Content-Disposition": f'attachment; filename="labels.{format}"'}
        return Response(content, media_type=MEDIA_TYPES[f".{format}"], headers=headers)

    return await seen.run("exports", request, write)


@router.post(
    "/{task:path}/import",
    responses=answers(409),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                kind: {"schema": {"type": "string", "format": "binary"}}
                for kind in ("text/csv", "application/geo+json", "application/xml", "application/octet-stream")
            },
        }
    },
)
async def import_labels(
    request: Request,
    seen: SeenByLabeller,
    task: Task,
    name: Annotated[str, Query(min_length=1, max_length=200, examples=["a.geojson"], description="The file's name.")],
    slide_id: Annotated[
        str | None, Query(description="The slide; the one that is named like the file if left out.")
    ] = None,
    format: Literal["auto", "geojson", "asap", "table"] = "auto",
    origin: Literal["bounds", "level0"] | None = None,
    class_map: Annotated[list[str] | None, Query(max_length=100, description="OLD=NEW renames a class.")] = None,
    only: Annotated[list[str] | None, Query(max_length=100)] = None,
    exclude: Annotated[list[str] | None, Query(max_length=100)] = None,
    negative: Annotated[str | None, Query(max_length=200)] = None,
    within: Annotated[str, Query(max_length=200)] = "slide",
    unclassified: Annotated[str | None, Query(max_length=200)] = None,
    skip_unknown_slides: bool = False,
    skip_invalid: bool = False,
    collection: Annotated[str | None, Query(max_length=200)] = None,
    dry_run: bool = False,
) -> ImportAnswer:
    """Read a label file, which is the body, as `embedstore label import` does: all of it, or after an error nothing.

    GeoJSON of QuPath, XML of ASAP, or a table as CSV. The same name again replaces what the caller had from it.
    """
    content = await request.body()

    def read() -> ImportAnswer:
        if seen.service.pseudonyms is not None:
            raise NotAllowedError(
                "label files name slides by their own names, and this service shows pseudonyms; add the labels as rows"
            )
        file = _file_name(name)
        _require_plain(content)
        slide = None if slide_id is None else seen.slide(slide_id)
        if not dry_run:
            seen.changed("labels.import", slides=[slide] if slide else [], task=task, file=file)
        with temporary_folder("labels") as folder:
            path = Path(folder, file)
            path.write_bytes(content)
            read = seen.labels().read(
                path, task=task, author=seen.caller.name, dry_run=dry_run, source=file, format=format, slide=slide,
                origin=origin, class_map=_class_map(class_map or ()), only=only or (), exclude=exclude or (),
                negative=negative, within=within, unclassified=unclassified, skip_unknown_slides=skip_unknown_slides,
                skip_invalid=skip_invalid, collection=collection,
            )  # fmt: skip
        return ImportAnswer(
            change=read.change,
            labels=len(read.rows),
            replaced=read.replaced,
            counts=read.counts,
            conflicts=[seen.text(line) for line in read.conflicts[:SHOWN_CONFLICTS]],
            notes=[seen.text(note) for note in read.notes],
        )

    return await seen.run("writes", request, read)


def _file_name(name: str) -> str:
    """The last part of a file's name, which is all that is kept of it.

    Raises:
        LabelFormatError: it cannot name a file.
    """
    last = PurePosixPath(PureWindowsPath(name).as_posix()).name
    if not last.isprintable() or last in ("", ".", "..") or len(last.encode()) > 250:
        raise LabelFormatError(f"{name!r} cannot name a file; expected one such as a.geojson or labels.csv")
    return last


def _require_plain(content: bytes) -> None:
    """Raise an error for a file that is empty, too large, or packed."""
    if not content.strip():
        raise LabelFormatError("the request has no file; send the label file as its body")
    if len(content) > MOST_FILE_BYTES:
        raise TooLargeError(f"the file has {len(content):,} bytes; expected at most {MOST_FILE_BYTES:,}; send parts")
    if content.startswith(PACKED):
        raise LabelFormatError("the file is packed, as .gz, .xlsx and .parquet are; send GeoJSON, XML or CSV as it is")


def _class_map(pairs: Sequence[str]) -> dict[str, str]:
    renamed: dict[str, str] = {}
    for pair in pairs:
        old, equals, new = pair.rpartition("=")
        if not (old and equals and new) or renamed.setdefault(old, new) != new:
            raise ConfigError(f"class_map {pair!r}: expected OLD=NEW, and each OLD once")
    return renamed


def _zipped(folder: Path) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            archive.write(path, path.relative_to(folder))
    return packed.getvalue()
