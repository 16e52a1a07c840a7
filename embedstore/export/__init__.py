"""What leaves a store: predictions, embeddings and hits of a search, as tables, GeoJSON, pictures and pages."""

from embedstore.export.export_request import ExportedFile, ExportFormat, ExportRequest, ExportResult, export
from embedstore.export.hits import (
    HitFiles,
    HitsGeojson,
    WrittenHits,
    draw_montage,
    notebook_html,
    write_hits,
    write_hits_geojson,
    write_hits_table,
    write_montage,
    write_page,
)
from embedstore.export.pictures import contact_sheet, draw_class_map, draw_heat_map, pictures_at_hand, tile_pictures
from embedstore.export.predictions import (
    ExportScope,
    export_scope,
    slide_scores,
    write_anndata,
    write_geojson,
    write_heat_map,
    write_slide_scores,
    write_table,
)

__all__ = [
    "ExportFormat",
    "ExportRequest",
    "ExportResult",
    "ExportScope",
    "ExportedFile",
    "HitFiles",
    "HitsGeojson",
    "WrittenHits",
    "contact_sheet",
    "draw_class_map",
    "draw_heat_map",
    "draw_montage",
    "export",
    "export_scope",
    "notebook_html",
    "pictures_at_hand",
    "slide_scores",
    "tile_pictures",
    "write_anndata",
    "write_geojson",
    "write_heat_map",
    "write_hits",
    "write_hits_geojson",
    "write_hits_table",
    "write_montage",
    "write_page",
    "write_slide_scores",
    "write_table",
]
