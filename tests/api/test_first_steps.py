"""What a newcomer meets first: an empty store, wrong names, slides that fail."""

from pathlib import Path

import pytest

import embedstore
from embedstore.errors import ConfigError, SlideNotInStoreError, StoreError
from embedstore.progress import no_progress

IN_PROCESS = {"in_process": True}


@pytest.fixture
def store(tmp_path: Path) -> embedstore.Store:
    return embedstore.create(tmp_path / "store")


def test_an_empty_store_says_what_comes_next(store: embedstore.Store, tmp_path: Path):
    for use in (store.collection, lambda: store.fit_head("tumour", on_progress=no_progress)):
        with pytest.raises(StoreError, match="has no collection yet; `embedstore ingest SLIDES` makes one") as failed:
            use()
        assert failed.value.__notes__ == ["In Python: store.ingest(slides)"]
    (tmp_path / "points.csv").write_text("slide,x,y,label\na.svs,1,2,tumour\nb.svs,1,2,tumour\n")
    with pytest.raises(
        SlideNotInStoreError, match=r"not by one name: a.svs, b.svs; the store has no slide yet; --skip-unknown"
    ):
        store.labels.read(tmp_path / "points.csv", task="tumour")
    assert repr(store.labels).startswith("labels: 0 rows\n")
    assert store.status.column_names[:4] == ["slide_id", "collection", "state", "tiles"]


def test_settings_of_tiles_are_checked_before_any_work(store: embedstore.Store, tmp_path: Path):
    (tmp_path / "a.svs").touch()
    with pytest.raises(ConfigError, match="TilingConfig has no setting 'tile'; it has tile_px, mpp"):
        store.ingest(tmp_path / "a.svs", tiling={"tile": 224}, execution=IN_PROCESS)


@pytest.mark.slow
def test_failed_slides_come_with_their_reason_and_the_next_step(store: embedstore.Store, tmp_path: Path):
    (tmp_path / "broken.svs").write_bytes(b"no slide")
    result = store.ingest(tmp_path / "broken.svs", execution=IN_PROCESS, on_progress=no_progress)
    (reason,) = result["reason"]
    for shown in (repr(result), result._repr_html_()):
        assert reason.split("'")[0] in shown and "…" not in shown
        assert "retry_failed=True" in shown
    assert result.notes == (
        "once the reason is mended, the same call with retry_failed=True tries failed slides again",
    )


def test_an_ingest_without_failures_is_one_line(store: embedstore.Store, tmp_path: Path):
    embedstore.synthesize_slides(tmp_path, slides=1, size_px=(1200, 1000), on_progress=no_progress)
    result = store.ingest(tmp_path / "slides.csv", execution=IN_PROCESS, on_progress=no_progress)
    assert result.summary.done == 1 and len(repr(result).splitlines()) == 1


def test_a_preview_of_tissue_shows_its_picture(tmp_path: Path):
    (slide,) = embedstore.synthesize_slides(tmp_path, slides=1, size_px=(1200, 1000), on_progress=no_progress)
    report = embedstore.inspect_tissue(slide.path)
    assert repr(report).startswith("<TissueReport 'synthetic-01-colon.svs': 1200×1000 px at 0.5 µm/px, tissue 0.")
    assert report._repr_png_().startswith(b"\x89PNG")
