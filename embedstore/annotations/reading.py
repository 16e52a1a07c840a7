"""Reading a file of annotations of either kind."""

from pathlib import Path

from embedstore.annotations.annotation import AnnotationFile
from embedstore.annotations.asap_xml import read_asap
from embedstore.annotations.geojson import read_geojson


def read_annotations(path: str | Path) -> AnnotationFile:
    """Read XML of ASAP where the name ends in .xml, packed or not, else GeoJSON; errors as in these readers."""
    name = Path(path).name.lower().removesuffix(".gz").removesuffix(".zip")
    return read_asap(path) if name.endswith(".xml") else read_geojson(path)
