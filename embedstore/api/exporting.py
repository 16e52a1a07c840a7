"""Exports of predictions and embeddings, for `Head.export` and `Collection.export`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from embedstore.export_format import format_of
from embedstore.progress import OnProgress
from embedstore.progress_bar import progress_bar
from embedstore.settings import build_config
from embedstore.store import Store as StoreTables

if TYPE_CHECKING:
    from embedstore.export import ExportFormat, ExportResult
    from embedstore.export.layout_export import LayoutExportResult


def write_export(
    tables: StoreTables,
    path: str | Path,
    *,
    format: "ExportFormat | None",
    on_progress: OnProgress | None,
    **settings: Any,
) -> "ExportResult":
    """Write an export to a file, or to a folder of a file for each slide.

    Raises:
        ConfigError: there is no such format, or the path's ending stands for none.
        ExportError: there is nothing to export, or the path cannot be written to.
    """
    from embedstore.export import ExportRequest, export
    from embedstore.slides import single_thread

    path = Path(path)
    chosen = format_of(path, format)
    single_thread()
    request = build_config(ExportRequest, None, format=chosen, path=path, **settings)
    with progress_bar(on_progress) as report:
        return export(tables, request, on_progress=report)


def write_layout(
    tables: StoreTables, folder: str | Path, *, on_progress: OnProgress | None, **settings: Any
) -> "LayoutExportResult":
    """Write a collection in the layout of another tool.

    Raises:
        ConfigError: there is no such layout, or it has no room for what was asked for.
        ExportError: there is nothing to write, or the folder cannot be written to.
    """
    from embedstore.export.layout_export import LayoutExportRequest, export_layout

    request = build_config(LayoutExportRequest, None, folder=Path(folder), **settings)
    with progress_bar(on_progress) as report:
        return export_layout(tables, request, on_progress=report)
