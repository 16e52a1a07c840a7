"""Annotations of a slide whose image begins off the corner of level 0 reach the pixels that they were drawn on."""

import json
from pathlib import Path

import numpy as np
import pytest

from actors.commit_buffer import slide_row
from embedstore.config import JoinConfig, ReadingConfig, TilingConfig, TissueConfig
from embedstore.labels import join_labels
from embedstore.labels.importing import ImportConfig, read_labels
from embedstore.slides import SlideSource, TileReader, plan_slide
from embedstore.store import Collection, CollectionWriter, FragmentWriter, Store, read_tile_locations
from tests.collection_records import collection_record
from tests.slides.drawings import write_tiff

BOUNDS = (384, 256, 640, 512)  # x, y, width, height of the image, level-0 pixels
LESION = (640, 512, 256, 128)  # on a lattice of 64 from the bounds' corner; also level-0 pixels
TILING = TilingConfig(tile_px=64, mpp=0.25, min_tissue=0.0)


def test_a_painted_lesion_is_the_one_that_is_labelled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    x, y, width, height = LESION
    picture = np.full((1024, 1280, 3), (230, 180, 210), np.uint8)
    picture[y : y + height, x : x + width] = (90, 20, 120)
    path = write_tiff(tmp_path / "s.tiff", picture, colours="deflate", factors=(1,))
    monkeypatch.setattr("embedstore.slides.slide.Slide.bounds_l0", BOUNDS)

    source = SlideSource(slide_id="s.tiff", path=str(path), kind="wsi", mpp=0.25)
    plan = plan_slide(source, tiling=TILING, tissue=TissueConfig(method="all"), reading=ReadingConfig())
    store = Store.create(tmp_path / "store")
    store.ledger.record([slide_row(source, plan)], [])
    slide = store.ledger.slides()[0]
    assert tuple(getattr(slide, f"bounds_{name}") for name in ("x", "y", "width", "height")) == BOUNDS
    collection = Collection.create(store.uri, "c", collection_record(3))
    with TileReader(plan, TILING) as reader:
        pixels, _ = reader.read(0, len(plan))
    writer = FragmentWriter(
        table_uri=collection.table.uri, schema=collection.schema, collection="c", slide_id="s.tiff", xy_l0=plan.xy_l0,
        edge_l0=plan.edge_l0, tissue=plan.tissue,
    )  # fmt: skip
    writer.put(np.arange(len(plan)), pixels.mean(axis=(1, 2)).astype(np.float16))
    CollectionWriter(collection).commit([writer.finish()])

    left, top = x - BOUNDS[0], y - BOUNDS[1]  # as QuPath counts
    ring = [[left, top], [left + width, top], [left + width, top + height], [left, top + height], [left, top]]
    drawn = {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {"objectType": "annotation", "classification": {"name": "lesion", "color": [200, 0, 0]}},
    }
    (tmp_path / "s.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": [drawn]}))
    config = ImportConfig(task="t", author="anna", negative="other")
    read_labels(store, [tmp_path / "s.geojson"], config).write(store)

    answers = join_labels(
        read_tile_locations(collection), store.labels.of_task("t"), {}, task="t",
        config=JoinConfig(rule="overlap", min_overlap=1.0),
    )  # fmt: skip
    lesion = answers.targets[:, answers.classes.index("lesion")]
    colours = np.array(collection.tiles()["vector"].to_pylist())
    assert lesion.sum() == (width // 64) * (height // 64)
    np.testing.assert_allclose(colours[lesion], np.broadcast_to((90, 20, 120), (lesion.sum(), 3)), atol=0.5)
    np.testing.assert_allclose(colours[~lesion], np.broadcast_to((230, 180, 210), ((~lesion).sum(), 3)), atol=0.5)
