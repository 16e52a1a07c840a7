"""Files of labels: GeoJSON of QuPath, XML of ASAP, and tables."""

from embedstore.labels.files.asap_xml import read_asap
from embedstore.labels.files.geojson import read_geojson, write_label_geojson

__all__ = [
    "read_asap",
    "read_geojson",
    "write_label_geojson",
]
