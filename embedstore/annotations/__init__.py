"""Files of annotations: GeoJSON of QuPath and XML of ASAP, read once for labels and for tissue masks."""

from embedstore.annotations.annotation import Annotation, AnnotationFile, Origin, subtract
from embedstore.annotations.asap_xml import read_asap
from embedstore.annotations.geojson import OWN, read_geojson, read_geometry
from embedstore.annotations.geojson_objects import feature, geometry_objects, write_collection
from embedstore.annotations.reading import read_annotations
from embedstore.annotations.slide_frame import SlideFrame

__all__ = [
    "Annotation",
    "AnnotationFile",
    "OWN",
    "Origin",
    "SlideFrame",
    "feature",
    "geometry_objects",
    "read_annotations",
    "read_asap",
    "read_geojson",
    "read_geometry",
    "subtract",
    "write_collection",
]
