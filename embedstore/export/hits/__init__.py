"""Hits of a search: as a montage, a web page, GeoJSON and tables."""

from embedstore.export.hits.hits_geojson import HitFiles, write_hits_geojson
from embedstore.export.hits.hits_montage import draw_montage, write_montage
from embedstore.export.hits.hits_page import write_page
from embedstore.export.hits.hits_table import write_hits_table

__all__ = [
    "HitFiles",
    "draw_montage",
    "write_hits_geojson",
    "write_hits_table",
    "write_montage",
    "write_page",
]
