"""`embedstore ingest --views` and what follows, on slides with pixels."""

import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lance
import numpy as np
import pyarrow as pa
import pytest

from actors.ingest import ingest
from actors.reader import Reader
from actors.request import IngestRequest, group_by_tiling
from actors.summary import IngestSummary
from embedstore.config import ExecutionConfig, IngestConfig, RunConfig, ViewConfig
from embedstore.errors import CollectionMismatchError
from embedstore.export import tile_pictures
from embedstore.extractors import ExtractorConfig, load_extractor
from embedstore.slides import find_slides
from embedstore.store import Store, read_views
from embedstore.views import draw_parameters
from embedstore.views.apply import apply_view

from .conftest import embedstore, embedstore_process
from .test_ingest import COLLECTION, table

pytestmark = pytest.mark.slow
TWO = ViewConfig(count=2)
WITH_TWO = ("--views", 2, "-e", "colour-12", "--in-process", "--json")


def views_table(store: Path, collection: str = COLLECTION) -> pa.Table:
    """All views, slides in the order of their names, each slide's in its own order."""
    found = lance.dataset(f"{store}/views-{collection}.lance").to_table()
    return found.take(np.argsort(found.column("slide_id").to_numpy(zero_copy_only=False), kind="stable"))


def take_in(
    slides: Path,
    store: Path,
    *,
    views: ViewConfig | None = TWO,
    run: RunConfig | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    **wanted: Any,
) -> IngestSummary:
    """Ingest in this process."""
    request = IngestRequest(
        sources=find_slides([str(slides / "slides.csv")]).sources,
        store_uri=str(store),
        groups=group_by_tiling([ExtractorConfig(ref="colour-12")], {}),
        config=IngestConfig(views=views),
        run=run or RunConfig(readers=1),
        execution=ExecutionConfig(in_process=True, device="cpu"),
        **wanted,
    )
    return ingest(request, should_stop=should_stop)


@pytest.fixture(scope="module")
def viewed(slides: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two extractors that share one pass, and two views of each tile."""
    store = tmp_path_factory.mktemp("viewed") / "store"
    done = embedstore("ingest", slides / "slides.csv", "-s", store, "-e", "stain-texture", *WITH_TWO)
    assert done.code == 3, done.err
    assert (done.json()["done"], done.json()["tiles"]) == (3, len(table(store)))
    assert len(done.json()["collections"]) == 2
    return store


@pytest.mark.parametrize("extractor", ["colour-12", "stain-texture"])
def test_a_stored_view_is_the_embedding_of_the_picture_that_its_parameters_make(viewed: Path, extractor: str):
    store, name = Store.open(viewed), f"{extractor}-256px-0.5mpp"
    rows = store.collection(name).tiles(limit=12).to_pylist()
    ids = np.array([row["tile_id"] for row in rows])
    found = read_views(store.views(name), ids)
    assert found.found.all()
    np.testing.assert_array_equal(found.parameters, draw_parameters(ids, TWO))
    pictures = tile_pictures(store, name, rows)
    made = [apply_view(tile, drawn) for tile, of in zip(pictures, found.parameters, strict=True) for drawn in of]
    again = load_extractor(extractor, device="cpu").embed(np.stack(made))
    np.testing.assert_allclose(found.vectors.reshape(again.shape), again, rtol=2e-3, atol=1e-3)
    originals = np.array([row["vector"] for row in rows])
    assert (np.abs(found.vectors - originals[:, None]).max(axis=2) > 1e-3).all(), "a view is the tile itself"


def test_tiles_and_views_of_all_extractors_are_the_same_pictures(viewed: Path):
    assert table(viewed)["tile_id"].equals(table(viewed, "stain-texture-256px-0.5mpp")["tile_id"])
    ours, theirs = views_table(viewed), views_table(viewed, "stain-texture-256px-0.5mpp")
    assert ours.drop_columns("vector").equals(theirs.drop_columns("vector"))
    assert ours["tile_id"].to_pylist() == np.repeat(table(viewed)["tile_id"], 2).tolist()


def test_a_second_run_does_nothing_over(viewed: Path, slides: Path):
    before = [lance.dataset(f"{viewed}/{kind}-{COLLECTION}.lance").version for kind in ("tiles", "views")]
    done = embedstore("ingest", slides / "slides.csv", "-s", viewed, *WITH_TWO)
    assert (done.code, done.json()["already"]) == (3, 3)
    assert before == [lance.dataset(f"{viewed}/{kind}-{COLLECTION}.lance").version for kind in ("tiles", "views")]


def test_one_reader_or_many_small_batches_or_large_give_the_same_rows(viewed: Path, slides: Path, tmp_path: Path):
    take_in(slides, tmp_path, run=RunConfig(readers=3, batch_tiles=5, chunk_bytes=10**6))
    assert views_table(tmp_path).equals(views_table(viewed))
    assert table(tmp_path).equals(table(viewed))


def test_views_made_later_are_those_made_at_once(viewed: Path, slides: Path, tmp_path: Path):
    assert take_in(slides, tmp_path, views=None).without_views == {}
    assert not Store.open(tmp_path).views(COLLECTION).exists()
    version = lance.dataset(f"{tmp_path}/tiles-{COLLECTION}.lance").version
    first = take_in(slides, tmp_path, limit=1)
    assert (first.done, first.without_views) == (1, {COLLECTION: 2})
    assert take_in(slides, tmp_path).done == 2
    assert views_table(tmp_path).equals(views_table(viewed))
    assert lance.dataset(f"{tmp_path}/tiles-{COLLECTION}.lance").version == version


def test_an_interrupted_run_resumes_to_the_undisturbed_rows(
    viewed: Path, slides: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    read, keys, stopping = Reader.read, list[str](), threading.Event()

    def held(self: Reader, key: str, *which: Any) -> Any:
        """The last slide waits until the run was told to stop, which is once a slide is there."""
        if key not in keys:
            keys.append(key)
        assert keys.index(key) < 2 or stopping.wait(300)
        return read(self, key, *which)

    def should_stop() -> bool:
        if views.slides():
            stopping.set()
        return stopping.is_set()

    monkeypatch.setattr(Reader, "read", held)
    views = Store.create(tmp_path).views(COLLECTION)
    one_by_one = RunConfig(readers=1, chunk_bytes=1, group_slides=1, group_s=0)
    cut_short = take_in(slides, tmp_path, run=one_by_one, should_stop=should_stop)
    assert cut_short.stopped and 0 < cut_short.done < 3
    assert views.slides().keys() == Store.open(tmp_path).collection(COLLECTION).slides().keys()
    assert take_in(slides, tmp_path, retry_failed=True).done == 3 - cut_short.done
    assert views_table(tmp_path).equals(views_table(viewed))
    assert table(tmp_path).equals(table(viewed))


def test_force_makes_the_same_views_in_the_place_of_the_old(viewed: Path, slides: Path, tmp_path: Path):
    take_in(slides, tmp_path)
    assert take_in(slides, tmp_path, force=frozenset({"s1.svs"})).done == 1
    assert views_table(tmp_path).equals(views_table(viewed))
    assert take_in(slides, tmp_path, views=None, force=frozenset({"s1.svs"})).without_views == {COLLECTION: 1}
    assert set(views_table(tmp_path)["slide_id"].to_pylist()) == {"s0.svs", "s2.svs"}


def test_other_views_are_refused_before_any_work(viewed: Path, slides: Path):
    with pytest.raises(CollectionMismatchError, match=r"views\.blur is 1\.5 there and 3\.0 here.*rm --views colour-12"):
        take_in(slides, viewed, views=ViewConfig(count=2, blur=3.0))
    done = embedstore("ingest", slides / "s0.svs", "-s", viewed, *WITH_TWO, "--views", 3)
    assert (done.code, done.out) == (1, "")
    assert "views.count is 2 there and 3 here" in done.err


def test_views_leave_with_their_slide_or_by_themselves(viewed: Path, slides: Path, tmp_path: Path):
    store = shutil.copytree(viewed, tmp_path / "store")
    described = embedstore("ls", "-s", store, "--json").json()["collections"][0]
    assert (described["views"], described["slides_with_views"]) == (2, 3)
    assert embedstore("rm", "-s", store, "--slide", "s0.svs", "--yes").code == 0
    assert set(views_table(store)["slide_id"].to_pylist()) == {"s1.svs", "s2.svs"}
    rows = len(views_table(store))
    gone = embedstore("rm", "-s", store, "--views", COLLECTION, "--yes", "--json")
    others = {"slides": [], "rows": {}, "collections": {}, "maps": [], "encodings": [], "columns": []}
    assert gone.json() == others | {"views": {COLLECTION: rows}}
    assert embedstore("ls", "-s", store, "--json").json()["collections"][0]["views"] == 0
    nothing = embedstore("rm", "-s", store, "--views", COLLECTION, "--yes")
    assert nothing.code == 1
    assert "has no stored views" in nothing.err
    assert embedstore("ingest", slides / "slides.csv", "-s", store, *WITH_TWO, "--views", 1).code == 3
    assert len(views_table(store)) == len(table(store))


def test_a_slide_without_views_is_told_of(slides: Path, tmp_path: Path):
    store = tmp_path / "store"
    assert take_in(slides, store, views=ViewConfig(count=1), limit=1).done == 1
    done = embedstore("ingest", slides / "s1.svs", "-s", store, "-e", "colour-12", "--in-process")
    assert done.code == 0
    assert f"{COLLECTION} has stored views, but not of 1 slide(s); --views makes them" in done.err


def test_a_dry_run_counts_views(viewed: Path, slides: Path, tmp_path: Path):
    ask = ("ingest", slides / "slides.csv", "-e", "colour-12", "--dry-run", "--json")
    plain, new = (embedstore(*ask, "-s", tmp_path / "none", *more).json()["passes"][0] for more in ((), ("--views", 4)))
    assert (plain["views"], new["views"]) == (0, 4 * new["tiles"])
    assert plain["bytes"] == plain["tiles"] * (24 + 32)
    assert new["bytes"] == plain["bytes"] + new["views"] * (24 + 76)
    later = embedstore(*ask, "-s", viewed, "--views", 2).json()["passes"][0]
    assert (later["slides"], later["slides_done"]) == (0, 3)


def test_a_dry_run_counts_views_alone_where_tiles_are_there(slides: Path, tmp_path: Path):
    take_in(slides, tmp_path, views=None)
    ask = ("ingest", slides / "slides.csv", "-s", tmp_path, "-e", "colour-12", "--dry-run", "--json", "--views", 4)
    later = embedstore(*ask).json()["passes"][0]
    assert (later["slides"], later["bytes"]) == (3, later["views"] * (24 + 76))
    assert not Store.open(tmp_path).views(COLLECTION).exists()


@pytest.mark.ray
def test_ray_gives_the_same_rows_and_views_as_one_process_from_a_directory_of_namesakes(
    viewed: Path, slides: Path, tmp_path: Path
):
    for name in ("actors", "heads", "cli", "embedstore", "ray", "torch"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise ImportError('the namesake was imported')")
    run = (
        "ingest",
        slides / "slides.csv",
        "-s",
        "store",
        "-e",
        "colour-12",
        "--views",
        2,
        "--readers",
        2,
        "--json",
        "--ray",
    )
    done = embedstore_process(*run, cwd=tmp_path)
    assert (done.code, done.json()["done"]) == (3, 3), done.err
    assert table(tmp_path / "store").equals(table(viewed))
    assert views_table(tmp_path / "store").equals(views_table(viewed))
