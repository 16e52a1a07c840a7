"""A collection goes with all that belongs to it, and nothing else goes."""

from pathlib import Path

import pytest

import embedstore
from embedstore.errors import CollectionNotFoundError, StoreBusyError, StoreError
from embedstore.progress import no_progress
from embedstore.store import Store
from embedstore.store.missing_files import missing_files
from embedstore.store.removal import remove_collection

PROCESS = {"in_process": True}


@pytest.fixture
def store(tmp_path: Path) -> embedstore.Store:
    """Two collections of two slides; the second has views, a map and slide vectors."""
    store = embedstore.create(tmp_path / "store")
    embedstore.synthesize_slides(tmp_path / "slides", slides=2, size_px=(1500, 1200), on_progress=no_progress)
    slides = tmp_path / "slides" / "slides.csv"
    for name, views in (("kept", 0), ("trial", 1)):
        store.ingest(
            slides, extractors="colour-12", collections=name, views=views, execution=PROCESS, on_progress=no_progress
        )
    trial = store.collection("trial")
    trial.make_map(method="pca", on_progress=no_progress)
    trial.encode_slides(on_progress=no_progress)
    store.labels.add("t", [{"label": "a", "slide_id": store.slides["slide_id"][0]}])
    return store


def test_a_collection_goes_with_what_belongs_to_it(store: embedstore.Store):
    before, kept = store._tables.tables(), len(store.collection("kept"))
    assert {"tiles-trial", "views-trial", "map-trial", "encoded-trial.mean"} <= set(before)
    assert store.remove_collection("trial") == kept
    assert not [name for name in store._tables.tables() if "trial" in name]
    assert [collection.name for collection in store.collections] == ["kept"]
    assert set(store.status["collection"]) == {"kept"} and len(store.slides) == 2
    assert store.labels.count("t") == 1 and missing_files(store.uri) == []
    with pytest.raises(CollectionNotFoundError, match="it has kept"):
        store.remove_collection("trial")


def test_it_can_be_made_again(store: embedstore.Store, tmp_path: Path):
    tiles = store.remove_collection("trial")
    again = store.ingest(
        tmp_path / "slides" / "slides.csv", extractors="colour-12", collections="trial", execution=PROCESS,
        on_progress=no_progress,
    )  # fmt: skip
    assert again.summary.done == 2 and len(store.collection("trial")) == tiles


@pytest.mark.slow
def test_whoever_has_it_open_is_told_and_sees_another_of_its_name(store: embedstore.Store, tmp_path: Path):
    held = embedstore.open(store.uri).collection("trial")
    query = held.vectors()[0]
    assert len(held.search(query, k=3)) == 3 and held.record.tiling.tile_px == 256
    store.remove_collection("trial")
    for use in (lambda: len(held), lambda: held.search(query), held.tiles, lambda: held.slides):
        with pytest.raises(CollectionNotFoundError, match="no collection 'trial'"):
            use()
    store.ingest(
        tmp_path / "slides" / "slides.csv", extractors="stain-texture", collections="trial", tiling={"tile_px": 128},
        execution=PROCESS, on_progress=no_progress,
    )  # fmt: skip
    anew = embedstore.open(store.uri).collection("trial")
    assert held.record.tiling.tile_px == 128 and len(held) == len(anew)
    assert held.tiles().to_arrow() == anew.tiles().to_arrow()
    assert held.vectors().shape == anew.vectors().shape == (len(anew), 294)


def test_what_others_use_stays(store: embedstore.Store, monkeypatch: pytest.MonkeyPatch):
    with store._tables.lease("trial"), pytest.raises(StoreBusyError):
        store.remove_collection("trial")

    class Fitted:
        name, collection = "a-head", "trial"

    monkeypatch.setattr(type(store._tables.heads), "summaries", lambda self: [Fitted])
    with pytest.raises(StoreError, match="heads a-head, which `embedstore heads rm NAME` removes"):
        remove_collection(Store.open(store.uri), "trial")
    assert len(store.collection("trial"))
