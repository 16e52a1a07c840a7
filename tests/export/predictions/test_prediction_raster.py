"""The raster of a head: every tile's values in the cell where it lies, and nothing elsewhere."""

from pathlib import Path

import numpy as np
import pytest

from embedstore.errors import ExportError
from embedstore.export import PredictionRaster, export_scope, prediction_raster
from embedstore.store import Store
from tests.export.prediction_scene import EDGE, add_folder, grid, make_store
from tests.store.predicted import facts, predict, two

HOLED = [corner for corner in grid(4, 3, at=(1100, 2300)) if corner != (1100 + EDGE, 2300)]


def raster(store: Store, slide: str, head: str = "lesion") -> PredictionRaster:
    return prediction_raster(export_scope(store, head=head, slides=[slide]), slide)


def test_each_value_lies_where_its_tile_does(tmp_path: Path):
    store = make_store(tmp_path, {"a.svs": HOLED})
    shares = np.linspace(0, 1, len(HOLED), dtype=np.float32)
    predict(store, facts(), {"a.svs": two(shares.tolist())})
    found = raster(store, "a.svs")
    assert (found.origin_l0, found.step_l0, found.edge_l0) == ((1100, 2300), EDGE, EDGE)
    assert found.values.shape == (2, 3, 4) and found.planes == ("normal", "tumour")
    for (x, y), share in zip(HOLED, shares, strict=True):
        assert found.values[1, (y - 2300) // EDGE, (x - 1100) // EDGE] == share
    assert np.isnan(found.values[:, 0, 1]).all() and found.decided[0, 1] == -1
    assert np.array_equal(found.decided == 1, found.values[1] > found.thresholds["tumour"])


def test_overlapping_tiles_have_a_cell_each(tmp_path: Path):
    corners = [(x, y) for y in (0, 64) for x in (0, 64, 192)]
    store = make_store(tmp_path, {"a.svs": corners}, stride_px=128)  # of 256
    predict(store, facts(), {"a.svs": two([0.5] * 6)})
    found = raster(store, "a.svs")
    assert (found.step_l0, found.edge_l0) == (64, EDGE)
    assert np.isfinite(found.values[1]).tolist() == [[True, True, False, True]] * 2


def test_scattered_tiles_have_cells_of_their_own_size(tmp_path: Path):
    store = make_store(tmp_path, {"a.svs": [(0, 0), (4 * EDGE, 0), (0, 6 * EDGE)]})
    predict(store, facts(), {"a.svs": two([0.5] * 3)})
    found = raster(store, "a.svs")
    assert found.step_l0 == EDGE and found.values.shape == (2, 7, 5)
    assert np.isfinite(found.values[0]).sum() == 3


@pytest.mark.parametrize(("kind", "error"), [("uint8", 0.5 / 254), ("float16", 0.0005)])
def test_bytes_give_the_same_raster_back(tmp_path: Path, kind, error):
    store = make_store(tmp_path, {"ä/a.svs": HOLED})
    predict(store, facts(), {"ä/a.svs": two(np.linspace(0, 1, len(HOLED)).tolist())})
    found = raster(store, "ä/a.svs")
    data = found.to_bytes(kind)
    back = PredictionRaster.from_bytes(data)
    assert back.as_record() == found.as_record()
    assert np.nanmax(np.abs(back.values - found.values)) <= error
    assert np.array_equal(np.isnan(back.values), np.isnan(found.values))
    assert np.array_equal(back.decided, found.decided)


def test_tiles_on_no_grid_are_refused(tmp_path: Path):
    store = make_store(tmp_path, {"a.svs": [(0, 0), (90_001, 70_003)], "b.svs": [(5, 5), (5, 5)], "c.svs": [(9, 9)]})
    add_folder(store, "tiles", ("1.png", "2.png"))
    predict(store, facts(), {name: two([0.5, 0.5]) for name in ("a.svs", "b.svs", "tiles")} | {"c.svs": two([0.5])})
    with pytest.raises(ExportError, match=r"'a.svs' lie on no grid.*GeoJSON"):
        raster(store, "a.svs")
    with pytest.raises(ExportError, match="several tiles at one place"):
        raster(store, "b.svs")
    with pytest.raises(ExportError, match="ready-made tiles"):
        raster(store, "tiles")
    assert raster(store, "c.svs").values.shape == (2, 1, 1)
