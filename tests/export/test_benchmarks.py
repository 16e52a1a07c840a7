"""Labels, splits and vectors in the files of Patho-Bench, PathoROB and eva, there and back."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from embedstore import api
from embedstore.errors import ConfigError, ExportError, HeadMismatchError
from embedstore.store import Label
from heads.config import FitConfig, SplitConfig
from heads.fit import fit_heads
from heads.stored_examples import StoredExamples
from tests.heads.scene import COLLECTION, make_store

pytestmark = pytest.mark.slow

GRADE = FitConfig(bootstrap=0, c=(0.1,), model="mean", level="slide", split=SplitConfig(folds=3))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> api.Store:
    tables = make_store(tmp_path_factory.mktemp("benchmarks"), slides=12, tiles=6)
    fit_heads(tables, tables.collection(COLLECTION), ["grade"], GRADE, names=["grade"])
    return api.open(tables.uri)


def test_the_folds_of_a_head_come_back_exactly_from_patho_bench(store: api.Store, tmp_path: Path):
    made = store.labels.export_benchmark(tmp_path / "grade", task="grade", format="patho-bench", head="grade")
    path, config = map(Path, made["path"])
    rows = list(csv.DictReader(path.read_text().splitlines(), delimiter="\t"))
    assert list(rows[0]) == ["case_id", "slide_id", "grade", "fold_0", "fold_1", "fold_2"]
    assert yaml.safe_load(config.read_text())["label_dict"] == {0: "high", 1: "low"}
    store.labels.read(path, task="again", author="me")
    split = SplitConfig(kind="file", file=str(path))
    tables = store.collection()._tables
    fit_heads(
        tables, tables.collection(COLLECTION), ["again"],
        FitConfig(bootstrap=0, c=(0.1,), model="mean", level="slide", split=split), names=["again"],
    )  # fmt: skip
    first, second = (StoredExamples.from_bytes(tables.heads.get(name).examples) for name in ("grade", "again"))
    order = [np.argsort(each.ids) for each in (first, second)]
    np.testing.assert_array_equal(first.parts[:, order[0]], second.parts[:, order[1]])
    assert tables.heads.get("again").digest != ""
    assert store.head("again").classes == ("high", "low")


def test_a_manifest_of_eva_has_the_vectors_of_each_slide(store: api.Store, tmp_path: Path):
    made = store.labels.export_benchmark(tmp_path, task="grade", format="eva", head="grade")
    assert len(made) == 3 + 12
    rows = list(csv.DictReader((tmp_path / "manifest-0.csv").read_text().splitlines()))
    assert {row["split"] for row in rows} == {"train", "val", "test"}
    vectors = torch.load(tmp_path / rows[3]["embeddings"], weights_only=True)
    expected = store.collection().vectors(where=f"slide_id = '{rows[3]['origin']}'")
    np.testing.assert_array_equal(vectors.numpy(), expected.astype(np.float32))


@pytest.mark.parametrize(
    ("given", "written"),
    [
        (("Training", "dev", "held-out"), {"train", "val", "test"}),
        (("1", "2", "3"), None),
        (("train", "x", "test"), None),
    ],
)
def test_parts_that_labels_give_are_written_or_refused(tmp_path: Path, given: tuple[str, ...], written: set | None):
    tables = make_store(tmp_path, slides=6, tiles=2)
    labels = Label.from_table(tables.labels.of_task("grade"))
    tables.labels.record([replace(each, task="g", split=given[i % 3]) for i, each in enumerate(labels)])
    labels = api.open(tables.uri).labels
    if written is None:
        with pytest.raises(ExportError, match=r"split of the labels has '[1x]', which is no name of a part"):
            labels.export_benchmark(tmp_path / "out", task="g", format="patho-bench")
        return
    labels.export_benchmark(tmp_path / "out", task="g", format="patho-bench")
    rows = list(csv.DictReader((tmp_path / "out" / "k=all.tsv").read_text().splitlines(), delimiter="\t"))
    assert {row["fold_0"] for row in rows} == written


def test_tiles_of_pathorob_have_a_vector_by_their_key(store: api.Store, tmp_path: Path):
    made = store.labels.export_benchmark(tmp_path, task="tissue", format="pathorob", site="site")
    rows = list(csv.DictReader((tmp_path / "metadata" / "tissue.csv").read_text().splitlines()))
    assert len(rows) == 72 and len(made) == 4
    row = next(row for row in rows if row["medical_center"] == "B")
    with np.load(tmp_path / "features" / "toy" / "tissue" / "B.npz") as features:
        vector = features[f"{row['slide_id']}-{row['patch_id']}"]
    x, y, _ = row["patch_id"].split("_")
    expected = store.collection().vectors(where=f"slide_id = '{row['slide_id']}.svs' AND x = {x} AND y = {y}")
    np.testing.assert_array_equal(vector, expected[0].astype(np.float32))
    back = store.labels.read(tmp_path / "metadata" / "tissue.csv", task="tissue", author="you", dry_run=True)
    assert len(back.labels) == 72 and not back.conflicts


def test_a_task_named_like_a_path_stays_in_the_folder(store: api.Store, tmp_path: Path):
    tables = store.collection()._tables
    (first, *_) = Label.from_table(tables.labels.of_task("tissue"))
    tables.labels.record([replace(first, task=task, created_at=None) for task in ("..", "../../evil")])
    for task in ("..", "../../evil"):
        made = store.labels.export_benchmark(tmp_path / "out", task=task, format="pathorob", site="site")
        assert all(Path(path).resolve().is_relative_to(tmp_path / "out") for path in made["path"])
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_what_a_benchmark_cannot_take_is_said(store: api.Store, tmp_path: Path):
    with pytest.raises(
        ExportError, match=r"none of the 12 labelled slides of task 'grade' is in a split of the labels.*--head"
    ):
        store.labels.export_benchmark(tmp_path, task="grade", format="patho-bench")
    with pytest.raises(ConfigError, match=r"--site COLUMN"):
        store.labels.export_benchmark(tmp_path, task="tissue", format="pathorob")
    with pytest.raises(ConfigError, match=r"--site does not go with the format eva"):
        store.labels.export_benchmark(tmp_path, task="grade", format="eva", site="site")
    store.fit_head("tissue", bootstrap=0, c=(0.1,), name="tiles", split={"folds": 3})
    with pytest.raises(HeadMismatchError, match=r"head 'tiles' classifies tiles"):
        store.labels.export_benchmark(tmp_path, task="grade", format="eva", head="tiles")
