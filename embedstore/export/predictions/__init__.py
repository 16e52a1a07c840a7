"""A head's predictions, or a collection's embeddings: as tables, GeoJSON, heat maps, slide scores and AnnData."""

from embedstore.export.predictions.anndata_export import write_anndata
from embedstore.export.predictions.dicom_objects import write_dicom
from embedstore.export.predictions.dicom_source import why_not_dicom
from embedstore.export.predictions.export_scope import ExportScope, export_scope
from embedstore.export.predictions.heat_map_sheet import write_heat_map
from embedstore.export.predictions.prediction_raster import PredictionRaster, RasterType, prediction_raster
from embedstore.export.predictions.prediction_table import write_table
from embedstore.export.predictions.predictions_geojson import write_geojson
from embedstore.export.predictions.slide_scores import slide_scores, write_slide_scores

__all__ = [
    "ExportScope",
    "PredictionRaster",
    "RasterType",
    "export_scope",
    "prediction_raster",
    "slide_scores",
    "why_not_dicom",
    "write_anndata",
    "write_dicom",
    "write_geojson",
    "write_heat_map",
    "write_slide_scores",
    "write_table",
]
