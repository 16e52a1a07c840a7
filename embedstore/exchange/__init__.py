"""What goes out of a store: pictures of tiles, and what heads say of them, for people and for other programs."""

from embedstore.exchange.anndata_export import write_anndata
from embedstore.exchange.export_scope import ExportScope, export_scope, slide_path
from embedstore.exchange.heat_map import draw_class_map, draw_heat_map
from embedstore.exchange.heat_map_sheet import write_heat_map
from embedstore.exchange.pictures import contact_sheet
from embedstore.exchange.prediction_table import write_table
from embedstore.exchange.predictions_geojson import write_geojson
from embedstore.exchange.slide_scores import slide_scores, write_slide_scores
from embedstore.exchange.tile_pictures import tile_pictures

__all__ = [
    "ExportScope",
    "contact_sheet",
    "draw_class_map",
    "draw_heat_map",
    "export_scope",
    "slide_path",
    "slide_scores",
    "tile_pictures",
    "write_anndata",
    "write_geojson",
    "write_heat_map",
    "write_slide_scores",
    "write_table",
]
