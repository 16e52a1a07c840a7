"""What an export wrote, the import recognises and reads: the same vectors, and tiles at the same places."""

from pathlib import Path

import numpy as np
import pytest

from embedstore.export.layout_export import LayoutExportRequest, export_layout
from embedstore.export_format import LayoutName
from embedstore.layouts import SlideFacts, layout_of
from embedstore.store import Store
from tests.export.prediction_scene import DIM, EDGE, grid, make_store, vectors

SLIDES = {"in/a.svs": grid(7, 30, at=(70_001, 12_345)), "b.ndpi": grid(2, 1)}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return make_store(tmp_path_factory.mktemp("scene"), SLIDES)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("layout", "read_as", "names"),
    [
        ("trident", "trident", ["a", "b"]),
        ("clam", "clam", ["a", "b"]),
        ("stamp", "stamp", ["b", "in/a"]),
        ("spatialdata", "lazyslide", ["b", "in/a"]),
        ("parquet", "plain", ["in/a.svs", "b.ndpi"]),
    ],
)
def test_there_and_back(store: Store, tmp_path: Path, layout: LayoutName, read_as: str, names: list[str]):
    assert not export_layout(store, LayoutExportRequest(layout=layout, folder=tmp_path)).failed
    reader = layout_of(tmp_path)
    entries = reader.slides(tmp_path)
    assert reader.name == read_as and sorted(entry.slide for entry in entries) == sorted(names)
    for entry in entries:
        slide_id = "in/a.svs" if "a" in entry.slide.split(".")[0] else "b.ndpi"
        corners = SLIDES[slide_id]
        with reader.open(entry, SlideFacts()) as features:
            assert (features.facts.tiles, features.facts.dim) == (len(corners), DIM)
            assert features.xy_l0 is not None and features.xy_l0.tolist() == [list(xy) for xy in corners]
            assert np.unique(features.edge_l0).tolist() == [EDGE]
            assert (features.read(0, len(corners)) == vectors(slide_id, len(corners))).all()
