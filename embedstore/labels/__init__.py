"""Labels: which tiles, slides and patients they are about, and the files they come from and go to."""

from embedstore.annotations import read_asap, read_geojson
from embedstore.labels.exporting import write_labels
from embedstore.labels.files import write_label_geojson
from embedstore.labels.given import given_labels
from embedstore.labels.importing import ImportConfig, LabelImport, read_labels
from embedstore.labels.slide_targets import SlideTargets, slide_targets
from embedstore.labels.targets import Targets
from embedstore.labels.tile_targets import LabelledTiles, TileTargets, join_labels, labelled_tiles

__all__ = [
    "ImportConfig",
    "LabelImport",
    "LabelledTiles",
    "SlideTargets",
    "Targets",
    "TileTargets",
    "given_labels",
    "join_labels",
    "labelled_tiles",
    "read_asap",
    "read_geojson",
    "read_labels",
    "slide_targets",
    "write_label_geojson",
    "write_labels",
]
