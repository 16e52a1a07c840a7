"""A head predicts another collection than its own: what is written is of that collection, and of no other."""

from pathlib import Path

import numpy as np
import pytest

from embedstore.errors import ConfigError, PredictionsExistError, PredictionsNotFoundError
from embedstore.export import export_scope, slide_scores
from embedstore.search.filters import filter_columns, select_tiles
from embedstore.store import Collection, CollectionWriter, FragmentWriter, SlideRow, Store
from embedstore.store.removal import remove_collection
from heads.config import FitConfig, SplitConfig
from heads.fit import fit_heads
from heads.predict import predict
from tests.collection_records import collection_record
from tests.heads.scene import DIM, make_store

pytestmark = pytest.mark.slow
EDGE, MPP, TILES = 1024, 0.5, 6


def add_coarse(store: Store, slides: tuple[str, ...], *, name: str = "coarse") -> Collection:
    """A collection of the same extractor with larger tiles, each half over the next one."""
    collection = Collection.create(
        store.uri, name, collection_record(DIM, tiling={"tile_px": 512, "stride_px": 256})
    )  # fmt: skip
    rng, deliveries = np.random.default_rng(1), []
    for slide in slides:
        xy = np.stack([np.arange(TILES) * EDGE // 2, np.zeros(TILES)], axis=1).astype(np.int32)
        writer = FragmentWriter(
            table_uri=collection.table.uri, schema=collection.schema, collection=name, slide_id=slide,
            xy_l0=xy, edge_l0=EDGE, tissue=np.ones(TILES, np.float32),
        )  # fmt: skip
        writer.put(np.arange(TILES), rng.normal(size=(TILES, DIM)).astype(np.float16))
        deliveries.append(writer.finish())
        store.ledger.record([SlideRow(slide_id=slide, path=f"/{slide}", kind="wsi", slide_mpp=MPP)], [])
    CollectionWriter(collection).commit(deliveries)
    return collection


def fit(store: Store, **options) -> None:
    task = "tissue" if options.get("level", "tile") == "tile" else "grade"
    config = FitConfig(**({"split": SplitConfig(folds=3), "bootstrap": 50, "steps": 20} | options))
    fit_heads(store, store.collection("toy"), [task], config, names=["a-head"])


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A head, its collection of twelve slides with 40 tiles, and another collection of two other slides."""
    store = make_store(tmp_path)
    add_coarse(store, ("other-1.svs", "other-2.svs"))
    fit(store)
    return store


def test_predictions_are_of_the_collection_that_was_predicted(store: Store):
    assert predict(store, "a-head", collection="coarse").rows == 2 * TILES
    scope = export_scope(store, head="a-head")
    assert scope.collection == "coarse" and scope.facts is not None and scope.facts.collection == "coarse"
    for row in slide_scores(scope).to_pylist():
        area = sum(value for name, value in row.items() if name.startswith("area_mm2_"))
        # tiles lie half over the next in both directions: a quarter of each counts
        assert area == pytest.approx(TILES * (EDGE * MPP / 1000) ** 2 / 4)
    coarse, toy = store.collection("coarse"), store.collection("toy")
    assert len(select_tiles(store, coarse, '"a-head".p_tumour >= 0').tile_ids) == 2 * TILES
    assert any("a-head" in name for name in filter_columns(store, coarse))
    assert not any("a-head" in name for name in filter_columns(store, toy))
    with pytest.raises(ConfigError, match=r"of collection 'coarse'.*predict --head a-head --collection toy --replace`"):
        select_tiles(store, toy, '"a-head".p_tumour >= 0')


def test_rows_of_two_collections_never_stand_side_by_side(store: Store):
    predict(store, "a-head")
    for slides in ((), ("other-1.svs",)):
        with pytest.raises(
            PredictionsExistError,
            match=r"predictions of collection 'toy'.*`embedstore predict --head a-head --collection coarse --replace`",
        ):
            predict(store, "a-head", collection="coarse", slides=slides)
    mine = store.predictions("a-head")
    assert mine.facts().collection == "toy" and len(mine) == 480, "nothing was written"
    predict(store, "a-head", collection="coarse", slides=["other-1.svs"], replace=True)
    assert mine.facts().collection == "coarse" and mine.slides() == {"other-1.svs": TILES}
    predict(store, "a-head", collection="coarse", slides=["other-2.svs"])
    assert mine.slides() == {"other-1.svs": TILES, "other-2.svs": TILES}
    with pytest.raises(PredictionsExistError, match="predictions of collection 'coarse'"):
        predict(store, "a-head")
    predict(store, "a-head", slides=["s00.svs"], replace=True)
    assert mine.facts().collection == "toy" and mine.slides() == {"s00.svs": 40}


def test_the_same_slides_of_another_collection_are_replaced(store: Store):
    add_coarse(store, ("s00.svs", "s01.svs"), name="both")
    predict(store, "a-head", slides=["s00.svs"])
    predict(store, "a-head", collection="both")
    mine = store.predictions("a-head")
    assert mine.facts().collection == "both" and mine.slides() == {"s00.svs": TILES, "s01.svs": TILES}
    assert set(mine.table()["edge_l0"].to_pylist()) == {EDGE}


def test_attention_is_of_the_collection_of_the_predictions(tmp_path: Path):
    store = make_store(tmp_path)
    add_coarse(store, ("other-1.svs",))
    fit(store, model="abmil", level="slide")
    predict(store, "a-head")
    with pytest.raises(PredictionsExistError):
        predict(store, "a-head", collection="coarse")
    assert len(store.predictions("a-head", "attention")) == 480
    predict(store, "a-head", collection="coarse", replace=True)
    attention = store.predictions("a-head", "attention")
    assert attention.facts().collection == "coarse" and attention.slides() == {"other-1.svs": TILES}
    assert export_scope(store, head="a-head").attention is not None


def test_attention_that_a_crash_left_of_another_collection_is_not_shown(tmp_path: Path):
    store = make_store(tmp_path)
    coarse = add_coarse(store, ("other-1.svs", "other-2.svs"))
    fit(store, model="abmil", level="slide")
    predict(store, "a-head")
    left = store.predictions("a-head", "attention").table()
    predict(store, "a-head", collection="coarse", slides=["other-1.svs"], replace=True)
    toy = store.predictions("a-head").facts()
    store.predictions("a-head", "attention").write(
        type(toy)(**{**vars(toy), "collection": "toy"}), left.to_batches(), slides=left["slide_id"].unique().to_pylist()
    )
    assert export_scope(store, head="a-head").attention is None
    assert not any("attention" in name for name in filter_columns(store, coarse))
    predict(store, "a-head", collection="coarse", slides=["other-2.svs"])
    assert store.predictions("a-head", "attention").slides() == {"other-2.svs": TILES}


def test_predictions_of_a_collection_go_with_it(store: Store):
    predict(store, "a-head", collection="coarse")
    remove_collection(store, "coarse")
    assert not store.predictions("a-head").exists() and store.heads.names() == ["a-head"]
    with pytest.raises(PredictionsNotFoundError):
        export_scope(store, head="a-head")
    assert predict(store, "a-head").rows == 480
