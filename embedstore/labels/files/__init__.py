"""Files of labels: tables, GeoJSON of labels, and the slides that files are about."""

from embedstore.labels.files.label_geojson import write_label_geojson

__all__ = ["write_label_geojson"]
