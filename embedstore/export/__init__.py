"""What leaves a store: predictions, neighbours and embeddings as GeoJSON, pictures, pages and tables."""

from embedstore.export.anndata_export import write_anndata
from embedstore.export.export_scope import ExportScope, export_scope
from embedstore.export.heat_map import draw_class_map, draw_heat_map
from embedstore.export.heat_map_sheet import write_heat_map
from embedstore.export.hits_geojson import HitFiles, write_hits_geojson
from embedstore.export.hits_page import write_page
from embedstore.export.hits_sheet import draw_montage, write_montage
from embedstore.export.hits_table import write_hits_table
from embedstore.export.pictures import contact_sheet
from embedstore.export.prediction_table import write_table
from embedstore.export.predictions_geojson import write_geojson
from embedstore.export.slide_scores import slide_scores, write_slide_scores
from embedstore.export.tile_pictures import pictures_at_hand, tile_pictures

__all__ = [
    "ExportScope",
    "HitFiles",
    "contact_sheet",
    "draw_class_map",
    "draw_heat_map",
    "draw_montage",
    "export_scope",
    "pictures_at_hand",
    "slide_scores",
    "tile_pictures",
    "write_anndata",
    "write_geojson",
    "write_heat_map",
    "write_hits_geojson",
    "write_hits_table",
    "write_montage",
    "write_page",
    "write_slide_scores",
    "write_table",
]
