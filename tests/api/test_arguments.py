"""What is given to a call of the Python API is checked before anything happens, and the message names the argument."""

import datetime as dt
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

import embedstore
from embedstore import api, client
from embedstore.errors import CollectionNotFoundError, ConfigError, QueryError, SlideNotFoundError, SlideNotInStoreError
from embedstore.progress import no_progress
from heads.config import AugmentConfig
from tests.heads.scene import make_store

FACES = (
    api.Store, api.Collection, api.Head, api.Labels, api.Tokens, api.AccessLog, api.Augmenter, api.SearchResult,
    client.RemoteStore, client.RemoteCollection, client.RemoteHead, client.RemoteLabels, client.RemoteAccessLog,
    client.RemoteAugmenter, client.RemoteSearchResult,
)  # fmt: skip
FUNCTIONS = (
    api.open,
    api.create,
    api.inspect_tissue,
    api.synthesize_slides,
    api.check_environment,
)
#: Arguments that are checked by what takes them: arrays, queries, rows, places, and settings, which their class checks.
CHECKED_LATER = {
    "away_from", "box_l0", "candidates", "classes", "config", "extractors", "file", "format", "image", "labels",
    "layout", "more_like", "on_progress", "places", "queries", "query", "row", "rows",
    "size_px", "vector", "weights", "xy_l0", "used",
}  # fmt: skip
#: Not for users.
INTERNAL = {"Labels.of_slides"}


def calls() -> Iterator[tuple[str, Callable]]:
    for kind in FACES:
        for name, call in vars(kind).items():
            if inspect.isfunction(call) and not name.startswith("_") and f"{kind.__name__}.{name}" not in INTERNAL:
                yield f"{kind.__name__}.{name}", call
    yield from ((call.__name__, call) for call in FUNCTIONS)


def arguments() -> Iterator[tuple[str, Callable, str]]:
    for shown, call in calls():
        for name, parameter in inspect.signature(call).parameters.items():
            if name != "self" and parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
                yield shown, call, name


def checked_at_once() -> Iterator[tuple[str, Callable, str]]:
    for shown, call, name in arguments():
        of_another_store = name == "collection" and shown.endswith(".evaluate")
        if name not in CHECKED_LATER and not of_another_store:
            yield shown, call, name


def test_what_is_checked_later_is_there():
    assert {name for _, _, name in arguments()} >= CHECKED_LATER


@pytest.mark.parametrize(
    ("shown", "call", "name"), [pytest.param(*each, id=f"{each[0]}-{each[2]}") for each in checked_at_once()]
)
def test_a_wrong_type_is_an_error_that_names_the_argument(shown: str, call: Callable, name: str):
    of = [SimpleNamespace()] if "." in shown else []  # nothing of the object is touched
    with pytest.raises(ConfigError, match=rf"^{shown}: {name} is <object object at .*>; expected [^<]*$"):
        call(*of, **{name: object()})


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> embedstore.Store:
    return embedstore.open(make_store(tmp_path_factory.mktemp("arguments"), slides=6, tiles=10).uri)


def test_a_store_is_not_made_where_its_path_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"^create: uri is None; expected a string or a path$"):
        embedstore.create(None)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_an_argument_that_there_is_not_comes_with_the_one_that_was_meant(store: embedstore.Store):
    for call in (store.ingest, store.estimate_ingest):
        with pytest.raises(
            TypeError, match=r"got an unexpected keyword argument 'extractor'; did you mean extractors\?"
        ):
            call("slides", extractor="uni2-h")  # type: ignore[call-arg]
        with pytest.raises(TypeError, match=r"'tile_px'; it is a setting of tiling: tiling=\{'tile_px': …\}$"):
            call("slides", tile_px=128)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"'collections'; it takes slides, patients$"):
        store.remove(collections=["a"])  # type: ignore[call-arg]


def test_one_name_is_a_list_of_one(store: embedstore.Store):
    assert store.collection().tiles(columns="slide_id").column_names == ["slide_id"]
    assert len(store.outcomes(states="failed")) == 0


def test_a_table_is_no_list_of_its_columns(store: embedstore.Store):
    table = pa.table({"path": ["a.svs"], "patient": ["p"]})
    for slides in (table, table.to_pandas()):
        with pytest.raises(ConfigError, match=r"^Store\.ingest: slides is .*; expected a string or a path or a list"):
            store.ingest(slides)  # type: ignore[arg-type]


def test_scalars_of_numpy_are_numbers(store: embedstore.Store):
    collection = store.collection()
    tile_id = np.int64(collection.tiles(limit=np.int32(1))["tile_id"][0])
    assert store.tile(tile_id)["tile_id"] == tile_id
    assert len(store.access_log.table(since=dt.datetime(2026, 1, 1, tzinfo=dt.UTC))) == 0


@pytest.mark.slow
def test_a_collection_or_head_stands_for_its_name(store: embedstore.Store, tmp_path: Path):
    collection = store.collection()
    head = store.fit_head(
        "tissue", collection=collection, positive="tumour", split={"folds": 3}, bootstrap=50, on_progress=no_progress
    )
    assert head.record.config.positive == "tumour" and store.head(head.name).collection == collection.name
    head.predict(collection=collection, on_progress=no_progress)
    assert store.export(tmp_path / "a.csv", head=head, on_progress=no_progress).slides == 6
    collection.find_leaks(head=head, on_progress=no_progress)
    of_list, of_one = (store.evaluate(each, keep_seen=True, on_progress=no_progress) for each in ([head], head))
    assert len(of_list) and of_list.to_arrow() == of_one.to_arrow()
    with pytest.raises(ConfigError, match=r"Store\.fit_head: collection is <Head .*; expected a string"):
        store.fit_head("tissue", collection=head)  # type: ignore[arg-type]


def test_a_collection_of_another_store_is_refused(store: embedstore.Store, tmp_path: Path):
    other = embedstore.open(make_store(tmp_path / "other", slides=2, tiles=4).uri).collection()
    with pytest.raises(ConfigError, match=rf"collection is '{other.name}' of .*other.*; expected one of {store.uri}"):
        store.fit_head("tissue", collection=other, on_progress=no_progress)  # type: ignore[arg-type]


def test_pictures_take_rows_of_any_table_and_say_what_else_they_were_given(store: embedstore.Store):
    collection = store.collection()
    tile_id = collection.tiles(limit=1)["tile_id"][0]
    for call in (collection.pictures, collection.contact_sheet):
        with pytest.raises(ConfigError, match=rf"expected rows of tiles, found {tile_id}; .*`store.tile\(id\)`"):
            call([tile_id])
        with pytest.raises(
            ConfigError, match="expected rows of tiles, found one without slide_id, x, y, edge_l0, name"
        ):
            call(collection.tiles(columns=["tile_id"], limit=2))
    with pytest.raises(ConfigError, match=rf"expected rows of tiles, found {tile_id}"):
        store.tile_picture(tile_id)  # type: ignore[arg-type]
    frame = collection.tiles(limit=2).to_pandas()
    for rows in (frame, collection.tiles(limit=2), collection.tiles(limit=2).to_pylist()):
        with pytest.raises(SlideNotFoundError):  # the scene has no files: its rows were understood
            collection.pictures(rows)  # type: ignore[arg-type]


def test_what_cannot_be_searched_by_is_said(store: embedstore.Store):
    collection = store.collection()
    for given, told in (
        ("s00.svs", r"there is no file 's00\.svs' .*\(slide, x, y\) for a place .*similar_slides\(slide\)"),
        (("s00.svs", 1200), r"a tuple cannot be searched by, \('s00\.svs', 1200\); expected a tile's id"),
        (np.zeros((8, 8, 3), np.uint8), r"is a picture, not a vector; search by collection\.query_by_image"),
        (Image.new("RGB", (8, 8)), r"an? Image cannot be searched by, .*query_by_image\(array\)"),
        (None, "a NoneType cannot be searched by"),
    ):
        with pytest.raises(QueryError, match=told):
            collection.search(given)


def test_names_that_there_are_not_come_with_those_that_there_are(store: embedstore.Store):
    with pytest.raises(CollectionNotFoundError, match=r"no collection 'toys' in .*; it has toy; `embedstore ls`"):
        store.collection("toys")
    for call in (store.collection().similar_slides, store.slide):
        with pytest.raises(SlideNotInStoreError, match=r"no slide 's0l\.svs' in .*; close names: .*s01\.svs"):
            call("s0l.svs")


def test_a_split_and_no_augmentation_are_named_as_on_the_command_line(store: embedstore.Store):
    head = store.fit_head(
        "tissue", name="plain", split="holdout", augment="none", bootstrap=50, on_progress=no_progress
    )
    assert head.record.config.split.kind == "holdout" and head.record.config.augment == (AugmentConfig(),)
    with pytest.raises(ConfigError, match=r"augment is \('mixupp',\); expected AugmentConfig or 'search' or a list"):
        store.fit_head("tissue", name="other", augment="mixupp", on_progress=no_progress)
