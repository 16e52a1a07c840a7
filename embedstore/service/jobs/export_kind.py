"""The job that writes predictions or embeddings to a file, to be downloaded."""

import dataclasses
import datetime as dt
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from embedstore.config import require
from embedstore.errors import ConfigError
from embedstore.export import ExportRequest, ExportResult
from embedstore.export.predictions import ExportScope, export_scope
from embedstore.export_format import ONE_FILE, SUFFIXES, ServedFormat
from embedstore.output_files import file_name
from embedstore.progress import Progress
from embedstore.service.jobs.kind import JobKind, Workplace
from embedstore.service.jobs.spool import keep_slides
from embedstore.settings import build_config
from embedstore.store import Store as StoreTables

#: Longer side of a heat map, pixels: one of 67 megapixels has 200 MB, and there are copies of it on the way.
MOST_PICTURE_PX = 8192
_MEDIA_TYPES = {
    ".csv": "text/csv; charset=utf-8", ".parquet": "application/vnd.apache.parquet", ".json": "application/json",
    ".geojson": "application/geo+json", ".png": "image/png", ".zip": "application/zip", ".h5ad": "application/x-hdf5",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Export(JobKind):
    """Write the predictions of a head or the embeddings of a collection to a file, to be downloaded.

    Attributes:
        format: geojson, png (heat maps), csv, parquet, slides (a row for each slide) or anndata; of geojson and png of
            several slides a ZIP.
        head: Export its predictions; without one, the embeddings of a collection.
        collection: Collection to export where no head is named; may be left out where there is only one.
        slides: Only these.
        where: Only slides that fulfil this SQL.
        settings: The other fields of `ExportRequest`: origin, merge, min_probability, of_class, picture_px.
    """

    NAME: ClassVar[str] = "export"

    format: ServedFormat
    head: str | None = None
    collection: str | None = None
    slides: tuple[str, ...] = ()
    where: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    def check(self, tables: StoreTables) -> None:
        request = self._request(Path())
        require(
            request.picture_px <= MOST_PICTURE_PX,
            f"picture_px is {request.picture_px}; expected at most {MOST_PICTURE_PX} pixels of a service",
        )
        self.scope(tables)

    def scope(self, tables: StoreTables) -> ExportScope:
        """What is exported. Raises what the export would."""
        scope = export_scope(
            tables, head=self.head, collection=self.collection, slides=self.slides, where=self.where
        )  # fmt: skip
        if self.format in SUFFIXES:
            scope.tile_values(self.format)
            scope.located_slides(self.format, named=bool(self.slides))
        return scope

    def run(self, at: Workplace) -> dict[str, Any]:
        path, media_type, result = self.write(at)
        return {
            "file": {"name": path.name, "bytes": path.stat().st_size, "media_type": media_type},
            "files": [
                {"name": _name_within(file.path, path), "rows": file.rows, "slide_id": file.slide_id}
                for file in result.files
            ],
            "slides": result.slides,
            "rows": sum(file.rows for file in result.files),
            "unit": result.unit,
            "notes": list(result.notes),
        }

    def write(self, at: Workplace) -> tuple[Path, str, ExportResult]:
        """Write the file; returns its path, its media type, and what is in it."""
        scope = self.scope(at.tables)
        keep_slides(at.folder, scope.slides)
        at.on_progress(Progress(stage="export", message=f"export {len(scope.slides):,} slide(s) as {self.format}"))
        name = self._file_name(scope)
        result = at.store.export(
            at.folder / name, format=self.format, head=self.head, collection=self.collection,
            slides=self.slides, where=self.where, on_progress=at.on_progress, **self.settings,
        )  # fmt: skip
        path = _one_file(at.folder / name, result)
        return path, _MEDIA_TYPES[path.suffix], result

    def left(self, tables: StoreTables, since: dt.datetime) -> str:
        return "its unfinished file was deleted"

    def _request(self, path: Path) -> ExportRequest:
        own = {each.name for each in dataclasses.fields(self)} | {"path"}
        if wrong := sorted(own & self.settings.keys()):
            raise ConfigError(f"settings of an export may not have {', '.join(wrong)}; see the other parameters")
        return build_config(
            ExportRequest, self.settings, format=self.format, path=path, head=self.head, collection=self.collection,
            slides=self.slides, where=self.where,
        )  # fmt: skip

    def _file_name(self, scope: ExportScope) -> str:
        """The file; of a file for each slide, the folder."""
        source = self.head or scope.collection
        if self.format not in SUFFIXES:
            return f"{source}-{ONE_FILE[self.format]}"
        located, _ = scope.located_slides(self.format, named=bool(self.slides))
        if len(located) > 1:
            return f"{source}-{self.format}"
        return file_name(f"{source}-{located[0].replace('/', '-')}", SUFFIXES[self.format])


def _name_within(path: Path, file: Path) -> str:
    """The name of one of the files of an export in the file that is downloaded: in the ZIP, or of the whole."""
    return path.relative_to(file.with_suffix("")).as_posix() if file.suffix == ".zip" else file.name


def _one_file(path: Path, result: ExportResult) -> Path:
    """The file of an export; a ZIP of the files of its folder, which is removed."""
    if path.is_file():
        return path
    packed = path.with_name(f"{path.name}.zip")
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for file in result.files:
            archive.write(file.path, file.path.relative_to(path).as_posix())
            file.path.unlink()
    return packed
