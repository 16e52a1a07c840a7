"""Hits of a search: as a montage, a web page, GeoJSON and tables."""

from embedstore.export.hits.hits_files import HitFiles, WrittenHits, write_hits, write_hits_table
from embedstore.export.hits.hits_geojson import HitsGeojson, write_hits_geojson
from embedstore.export.hits.hits_montage import draw_montage, write_montage
from embedstore.export.hits.hits_page import notebook_html, write_page

__all__ = [
    "HitFiles",
    "HitsGeojson",
    "WrittenHits",
    "draw_montage",
    "notebook_html",
    "write_hits",
    "write_hits_geojson",
    "write_hits_table",
    "write_montage",
    "write_page",
]
