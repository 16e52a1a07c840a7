"""Labels, heads, predictions and exports through the Python API, on a store whose vectors hold a signal."""

from pathlib import Path

import pytest

import embedstore
from embedstore.errors import (
    ConfigError,
    HeadExistsError,
    HeadNotFoundError,
    PredictionsNotFoundError,
    SlideNotInStoreError,
    TaskNotFoundError,
)
from embedstore.progress import Progress, no_progress
from tests.heads.scene import make_store

pytestmark = pytest.mark.slow
SPLIT = {"folds": 3}
LABELS = 240


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> embedstore.Store:
    """With one fitted head, which has predicted."""
    tables = make_store(tmp_path_factory.mktemp("api-heads"), slides=12, tiles=20)
    store = embedstore.open(tables.uri)
    store.fit_head("tissue", positive="tumour", split=SPLIT, bootstrap=50, on_progress=no_progress)
    store.head("tissue-linear").predict(on_progress=no_progress)
    return store


def test_a_head_knows_how_good_it_is(store: embedstore.Store, tmp_path: Path):
    head = store.head("tissue-linear")
    assert head.classes == ("normal", "tumour") and head.task == "tissue" and head.level == "tile"
    auroc = head.metrics["auroc"]
    assert auroc.value is not None and auroc.value > 0.8
    assert str(auroc) in repr(head) and str(auroc) in head._repr_html_()
    assert head.plot().width == 1200
    assert {path.name for path in head.write_curves(tmp_path)} >= {"sheet.png", "roc.png"}


def test_a_head_answers_and_its_answers_are_a_table(store: embedstore.Store):
    head = store.head("tissue-linear")
    predictions = head.predictions
    assert len(predictions) == len(store.collection()) == LABELS
    assert {"tile_id", "slide_id", "p_tumour"} <= set(predictions.column_names)
    seen: list[Progress] = []
    predicted = head.predict(slides=["s01.svs"], on_progress=seen.append)
    assert predicted.rows == 20 and predicted.slides == 1
    assert repr(predicted).startswith("tissue-linear: 20 rows of 1 slide(s): normal ")
    assert head.predict(slides="s01.svs", on_progress=no_progress) == predicted  # one name may stand alone
    assert seen[-1].done == 20 and seen[-1].stage == "predict"
    with pytest.raises(SlideNotInStoreError, match=r"no slide 's99\.svs'"):
        head.predict(slides=["s99.svs"], on_progress=no_progress)


def test_the_ending_chooses_the_export_format(store: embedstore.Store, tmp_path: Path):
    head = store.head("tissue-linear")
    result = head.export(tmp_path / "rows.csv", slides=["s00.svs"], on_progress=no_progress)
    assert result.files[0].rows == 20 and len((tmp_path / "rows.csv").read_text().splitlines()) == 21
    assert head.export(tmp_path / "maps", format="geojson", on_progress=no_progress).slides == 12
    assert (tmp_path / "maps" / "s05.svs.geojson").is_file()
    with pytest.raises(ConfigError, match="does not tell the format; name one of geojson, png"):
        head.export(tmp_path / "maps", on_progress=no_progress)
    with pytest.raises(ConfigError, match="ExportRequest has no setting 'colour'"):
        head.export(tmp_path / "rows.csv", colour="red", on_progress=no_progress)
    rows = store.collection().export(tmp_path / "all.parquet", on_progress=no_progress)
    assert rows.files[0].rows == LABELS


def test_a_head_is_fitted_again_to_the_same_parameters(store: embedstore.Store):
    again = store.head("tissue-linear").fit_again(on_progress=no_progress)
    assert again.same and again.stored == store.head("tissue-linear").digest


def test_settings_by_name_or_as_an_object(store: embedstore.Store):
    from heads.config import FitConfig, SplitConfig

    by_name = store.fit_head(
        "tissue", name="by-name", c=(0.1,), positive="tumour", bootstrap=0, split=SPLIT, on_progress=no_progress
    )
    config = FitConfig(c=(0.1,), positive="tumour", bootstrap=0, split=SplitConfig(folds=3))
    as_object = store.fit_head("tissue", config, name="as-object", on_progress=no_progress)
    assert by_name.digest == as_object.digest
    with pytest.raises(ConfigError, match="FitConfig has no setting 'lerning_rate'; it has model, level"):
        store.fit_head("tissue", lerning_rate=1)
    with pytest.raises(ConfigError, match="expected a FitConfig or a dictionary of its fields, found a SplitConfig"):
        store.fit_head("tissue", SplitConfig())  # type: ignore[arg-type]
    for head in (by_name, as_object):
        head.remove()
    assert [head.name for head in store.heads] == ["tissue-linear"]


def test_a_bag_model_answers_for_slides_unless_another_level_is_named(store: embedstore.Store):
    head = store.fit_head("grade", model="mean", bootstrap=0, split=SPLIT, on_progress=no_progress)
    assert head.level == "slide"
    with pytest.raises(PredictionsNotFoundError, match="embedstore predict --head grade-mean") as failed:
        head.export("x.csv")
    assert failed.value.__notes__ == ["In Python: head.predict()"]
    head.remove()


def test_refusals_name_what_there_is(store: embedstore.Store):
    with pytest.raises(TaskNotFoundError, match="tissue"):
        store.fit_head("tumor", on_progress=no_progress)
    with pytest.raises(HeadExistsError, match="tissue-linear"):
        store.fit_head("tissue", on_progress=no_progress)
    for use in (store.head, lambda name: store.export("x.csv", head=name)):
        with pytest.raises(HeadNotFoundError, match="it has tissue-linear"):
            use("tissue-mlp")


def test_labels_are_listed_written_and_read_back(store: embedstore.Store, tmp_path: Path):
    assert store.labels.tasks == ["grade", "tissue"]
    assert sum(store.labels.summary("tissue")["labels"]) == len(store.labels.table("tissue")) == LABELS
    assert store.labels.count("tissue", slide_id="s00.svs") == 20
    (written,) = store.labels.export(tmp_path / "labels.csv", task="tissue")
    assert written.labels == LABELS
    read = store.labels.read(tmp_path / "labels.csv", task="copy", author="anna")
    assert len(read.labels) == LABELS and read.replaced == 0
    again = store.labels.read([tmp_path / "labels.csv"], task="copy", author="anna", dry_run=True)
    assert again.replaced == 0 and len(again.labels) == LABELS
    lines = (tmp_path / "labels.csv").read_text().splitlines(keepends=True)
    (tmp_path / "labels.csv").write_text("".join(lines[:-10]))
    assert store.labels.read(tmp_path / "labels.csv", task="copy", author="anna").replaced == 10
    assert len(store.labels.table("copy")) == len(lines) - 11
    removed = store.labels.remove("copy")  # the ten withdrawn ones as well
    assert removed == len(lines) - 1 and store.labels.tasks == ["grade", "tissue"]


def test_a_store_shows_itself(store: embedstore.Store):
    assert len(store.slides) == 12 and "site" in store.slides.column_names
    assert [collection.name for collection in store.collections] == ["toy"]
    assert "toy" in repr(store) and "tissue-linear" in store._repr_html_()
    assert store.slide("s00.svs")["patient"] == "P00"
    tile = store.tile_at("s00.svs", (10, 10))
    assert " ".join(tile) == "collection tile_id slide_id x y edge_l0 name tissue vector"
    assert store.tile(tile["tile_id"]) == tile and tile["collection"] == "toy"
    with pytest.raises(SlideNotInStoreError, match=r"close names: s00\.svs"):
        store.slide("s00")
