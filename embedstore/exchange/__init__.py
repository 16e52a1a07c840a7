"""What goes into a store and out of it: labels in, and pictures, labels and what heads say out."""

from embedstore.exchange.anndata_export import write_anndata
from embedstore.exchange.asap_xml import read_asap
from embedstore.exchange.export_scope import ExportScope, export_scope, slide_path
from embedstore.exchange.geojson_labels import read_geojson, write_label_geojson
from embedstore.exchange.heat_map import draw_class_map, draw_heat_map
from embedstore.exchange.heat_map_sheet import write_heat_map
from embedstore.exchange.hits_geojson import HitFiles, write_hits_geojson
from embedstore.exchange.hits_page import write_page
from embedstore.exchange.hits_sheet import draw_montage, write_montage
from embedstore.exchange.hits_table import write_hits_table
from embedstore.exchange.label_export import write_labels
from embedstore.exchange.label_import import ImportConfig, LabelImport, read_labels
from embedstore.exchange.pictures import contact_sheet
from embedstore.exchange.prediction_table import write_table
from embedstore.exchange.predictions_geojson import write_geojson
from embedstore.exchange.slide_scores import slide_scores, write_slide_scores
from embedstore.exchange.tile_pictures import pictures_at_hand, tile_pictures
from embedstore.exchange.whole_file import require_folder, whole_file

__all__ = [
    "ExportScope",
    "HitFiles",
    "ImportConfig",
    "LabelImport",
    "contact_sheet",
    "draw_class_map",
    "draw_heat_map",
    "draw_montage",
    "export_scope",
    "pictures_at_hand",
    "read_asap",
    "read_geojson",
    "read_labels",
    "require_folder",
    "slide_path",
    "slide_scores",
    "tile_pictures",
    "whole_file",
    "write_anndata",
    "write_geojson",
    "write_heat_map",
    "write_hits_geojson",
    "write_hits_table",
    "write_label_geojson",
    "write_labels",
    "write_montage",
    "write_page",
    "write_slide_scores",
    "write_table",
]
