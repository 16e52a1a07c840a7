"""Predictions and embeddings as tables: rows, columns of slides, scores of slides, AnnData."""

import csv
import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas
import pyarrow.parquet as pq
import pytest

from embedstore.errors import ExportError
from embedstore.export import export_scope, slide_scores, write_anndata, write_slide_scores, write_table
from embedstore.store import Store, slide_batch
from tests.export.prediction_scene import DIM, add_folder, grid, make_store, vectors
from tests.store.predicted import decide, facts, predict, predict_slides, tiles_of, two

SLIDES = {"a.svs": 3, "b.svs": 14}
CHANCES = {"a.svs": [0.25, 0.75, 0.5], "b.svs": np.linspace(0, 1, 14)}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = make_store(tmp_path, {name: grid(tiles, 1) for name, tiles in SLIDES.items()})
    predict(store, facts(), {name: two(chances) for name, chances in CHANCES.items()})
    return store


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


# -- rows -----------------------------------------------------------------------------------


def test_csv_and_parquet_hold_the_same_rows_with_the_columns_of_slides(store: Store, tmp_path: Path):
    scope = export_scope(store, head="lesion")
    assert write_table(scope, tmp_path / "x.csv", file_format="csv") == 17
    assert write_table(scope, tmp_path / "x.parquet", file_format="parquet") == 17
    rows, table = read_csv(tmp_path / "x.csv"), pq.read_table(tmp_path / "x.parquet")
    assert list(rows[0]) == table.schema.names
    assert table.schema.names[-5:] == ["p_normal", "p_tumour", "patient", "slide_mpp", "cohort"]
    assert [row["tile_id"] for row in rows] == [str(value) for value in table["tile_id"].to_pylist()]
    assert {(row["slide_id"], row["patient"], row["cohort"]) for row in rows} == {
        ("a.svs", "P0", "A"), ("b.svs", "P1", "B"),
    }  # fmt: skip
    np.testing.assert_allclose([float(row["p_tumour"]) for row in rows[:3]], [0.25, 0.75, 0.5])
    np.testing.assert_allclose(table["p_tumour"].to_numpy()[3:], CHANCES["b.svs"], atol=1e-6)


def test_some_slides_are_written_alone(store: Store, tmp_path: Path):
    scope = export_scope(store, head="lesion", where="patient = 'P1'")
    assert write_table(scope, tmp_path / "x.csv", file_format="csv") == 14
    assert {row["slide_id"] for row in read_csv(tmp_path / "x.csv")} == {"b.svs"}


def test_a_column_of_the_users_does_not_hide_one_of_the_heads(store: Store, tmp_path: Path):
    store.ledger.admit_columns([{"label": "x", "empty": "y"}])
    store.ledger.refresh([("a.svs", "/a", {"label": "benign"})])
    write_table(export_scope(store, head="lesion"), tmp_path / "x.csv", file_format="csv")
    rows = read_csv(tmp_path / "x.csv")
    assert (rows[1]["label"], rows[1]["slide_label"], rows[1]["empty"]) == ("tumour", "benign", "")


def test_a_collection_alone_gives_places_and_in_parquet_vectors(store: Store, tmp_path: Path):
    scope = export_scope(store, collection="toy")
    assert write_table(scope, tmp_path / "x.parquet", file_format="parquet") == 17
    table = pq.read_table(tmp_path / "x.parquet")
    held = np.array(table["vector"].to_pylist(), np.float32)
    np.testing.assert_array_equal(held, np.concatenate([vectors(name, n) for name, n in SLIDES.items()]))
    write_table(scope, tmp_path / "x.csv", file_format="csv")
    assert "vector" not in read_csv(tmp_path / "x.csv")[0] and read_csv(tmp_path / "x.csv")[1]["x"] == "128"


def test_rows_are_written_as_they_are_read(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    scope, batches = export_scope(store, head="lesion"), []

    def slowly(**_):
        for slide in SLIDES:
            batches.append(slide)
            yield from store.predictions("lesion").table(slides=[slide]).to_batches()

    monkeypatch.setattr(scope.predictions, "batches", slowly)
    monkeypatch.setattr("embedstore.export.predictions.prediction_table.join_slides", lambda batch, slides: batch)
    write_table(scope, tmp_path / "x.parquet", file_format="parquet")
    assert pq.ParquetFile(tmp_path / "x.parquet").num_row_groups == len(batches) == 2


# -- scores of slides -----------------------------------------------------------------------


def test_scores_of_a_slide_are_those_of_a_plain_count(store: Store):
    rows = {row["slide_id"]: row for row in slide_scores(export_scope(store, head="lesion")).to_pylist()}
    for slide, chances in CHANCES.items():
        p = np.asarray(chances, np.float32)
        row, positive = rows[slide], p > 0.5
        assert row["tiles"] == len(p)
        assert row["mean_tumour"] == pytest.approx(p.mean(), abs=1e-6)
        assert row["top10_tumour"] == pytest.approx(np.sort(p)[-10:].mean(), abs=1e-6)
        assert row["share_tumour"] == pytest.approx(positive.mean())
        assert row["area_mm2_tumour"] == pytest.approx(positive.sum() * (128 * 0.5 / 1000) ** 2)
        assert row["share_normal"] + row["share_tumour"] == pytest.approx(1)
    assert rows["b.svs"]["patient"] == "P1" and rows["b.svs"]["cohort"] == "B"


def test_scores_do_not_depend_on_how_rows_come(store: Store, monkeypatch: pytest.MonkeyPatch):
    expected = slide_scores(export_scope(store, head="lesion"))
    scope, table = export_scope(store, head="lesion"), store.predictions("lesion").table()
    shuffled = table.take(np.random.default_rng(0).permutation(len(table)))
    monkeypatch.setattr(scope.predictions, "batches", lambda **_: shuffled.combine_chunks().to_batches(4))
    found = slide_scores(scope)
    for name in expected.schema.names:
        for one, other in zip(found[name].to_pylist(), expected[name].to_pylist(), strict=True):
            assert one == (pytest.approx(other) if isinstance(other, float) else other)


def test_overlapping_tiles_count_for_their_own_area(tmp_path: Path):
    store = make_store(tmp_path, {"a.svs": [(0, 0), (64, 0)]}, stride_px=128)
    predict(store, facts(), {"a.svs": two([0.9, 0.9])})
    row = slide_scores(export_scope(store, head="lesion")).to_pylist()[0]
    assert row["area_mm2_tumour"] == pytest.approx(2 * (128 * 0.5 / 1000) ** 2 / 4)


def test_overlapping_tiles_of_another_tool_count_for_their_own_area(tmp_path: Path):
    """It does not say how it laid its grid: a quarter of a tile is its own on a grid of half its edge."""
    grid = [(x, y) for y in range(0, 256, 64) for x in range(0, 512, 64) if (x, y) != (64, 64)]
    slides = {"a.svs": grid, "b.svs": [(0, 0), (0, 64)], "c.svs": [(0, 0), (128, 0), (512, 0)], "d.svs": [(0, 0)]}
    store = make_store(tmp_path, slides, imported=True)
    predict(store, facts(), {slide: two([0.9] * len(corners)) for slide, corners in slides.items()})
    rows = {row["slide_id"]: row for row in slide_scores(export_scope(store, head="lesion")).to_pylist()}
    tile = (128 * 0.5 / 1000) ** 2
    for slide, tiles in {"a.svs": len(grid) / 4, "b.svs": 2 / 4, "c.svs": 3, "d.svs": 1}.items():
        assert rows[slide]["area_mm2_tumour"] == pytest.approx(tiles * tile), slide


def test_folders_of_tiles_have_no_area(store: Store):
    add_folder(store, "patches", ("x.png", "y.png"))
    predict(store, facts(), {"patches": two([0.9, 0.8])})
    row = slide_scores(export_scope(store, head="lesion", slides=["patches"])).to_pylist()[0]
    assert row["area_mm2_tumour"] is None and row["share_tumour"] == 1


def test_scores_are_written_as_the_ending_says(store: Store, tmp_path: Path):
    scope = export_scope(store, head="lesion")
    assert write_slide_scores(scope, tmp_path / "s.json") == 2
    assert write_slide_scores(scope, tmp_path / "s.csv") == 2
    assert write_slide_scores(scope, tmp_path / "s.parquet") == 2
    held = json.loads((tmp_path / "s.json").read_text())
    assert held == pq.read_table(tmp_path / "s.parquet").to_pylist()
    assert [row["patient"] for row in read_csv(tmp_path / "s.csv")] == ["P0", "P1"]
    with pytest.raises(ExportError, match=r"ends in '\.xlsx'; expected \.csv, \.parquet, \.json"):
        write_slide_scores(scope, tmp_path / "s.xlsx")
    with pytest.raises(ExportError, match="name the head"):
        write_slide_scores(export_scope(store), tmp_path / "s.csv")


def test_heads_of_slides_give_their_rows_and_heads_of_patients_a_row_a_patient(store: Store):
    made = facts(head="grade", level="slide")
    predict_slides(store, made, {"b.svs": two([0.9])[0], "a.svs": two([0.2])[0]}, {})
    rows = slide_scores(export_scope(store, head="grade")).to_pylist()
    assert [(row["slide_id"], row["label"], row["cohort"]) for row in rows] == [
        ("a.svs", "normal", "A"), ("b.svs", "tumour", "B"),
    ]  # fmt: skip
    made = facts(head="stage", level="patient")
    chances = two([0.75, 0.75])
    batch = slide_batch(made, ["b.svs", "a.svs"], ["P7", "P7"], chances, decide(made, chances))
    store.predictions("stage").write(made, [batch], slides=["a.svs", "b.svs"])
    assert slide_scores(export_scope(store, head="stage")).to_pylist() == [
        {
            "patient": "P7",
            "label": "tumour",
            "p_normal": 0.25,
            "p_tumour": 0.75,
            "slides": 2,
            "slide_ids": "a.svs; b.svs",
        }
    ]


# -- AnnData --------------------------------------------------------------------------------


@pytest.fixture
def anndata():
    return pytest.importorskip("anndata")


def test_anndata_holds_vectors_places_and_what_the_head_says(store: Store, tmp_path: Path, anndata):
    assert write_anndata(export_scope(store, head="lesion"), tmp_path / "x.h5ad") == 17
    made = anndata.read_h5ad(tmp_path / "x.h5ad")
    assert made.X.dtype == np.float32 and made.shape == (17, DIM)
    ids = [str(i) for name in SLIDES for i in tiles_of(store, name)["tile_id"].to_pylist()]
    assert list(made.obs_names) == ids
    np.testing.assert_array_equal(made.X, np.concatenate([vectors(name, n) for name, n in SLIDES.items()]))
    np.testing.assert_array_equal(made.obsm["spatial"][1], [128 + 64, 64])
    np.testing.assert_allclose(made.obs["p_tumour"][:3], [0.25, 0.75, 0.5])
    assert list(made.obs["label"][:2]) == ["normal", "tumour"]
    assert (made.obs["patient"][0:17].iloc[-1], made.obs["cohort"].iloc[-1]) == ("P1", "B")
    about = made.uns["embedstore"]
    assert (about["collection"], about["extractor"]["name"], about["head"]["head_digest"]) == (
        "toy", "toy", "sha256:head-1",
    )  # fmt: skip
    assert list(about["head"]["classes"]) == ["normal", "tumour"] and about["head"]["thresholds"]["tumour"] == 0.5


def test_anndata_is_not_begun_without_room(store: Store, tmp_path: Path, anndata, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=1000))
    with pytest.raises(ExportError, match=r"the next file takes up to 1\.01 MB, and 1 KB are free; .* another place"):
        write_anndata(export_scope(store), tmp_path / "out" / "x.h5ad")
    assert not list((tmp_path / "out").iterdir())


def test_anndata_takes_whatever_columns_a_list_has(store: Store, tmp_path: Path, anndata):
    columns = {"her2": True, "_index": "i", "ER/PR": "+", "ER_PR": "-", "grade": 2, "Опухоль": "да"}
    store.ledger.admit_columns([columns])
    store.ledger.refresh([("b.svs", "/b", columns)])
    write_anndata(export_scope(store), tmp_path / "x.h5ad")
    first, last = (anndata.read_h5ad(tmp_path / "x.h5ad").obs.iloc[row] for row in (0, -1))
    assert (first["her2"] is pandas.NA, last["her2"]) == (True, True)
    assert [last[name] for name in ("index_", "ER_PR_", "ER_PR", "grade", "Опухоль")] == ["i", "+", "-", 2, "да"]


def test_anndata_follows_the_predictions_whatever_their_order(store: Store, tmp_path: Path, anndata):
    """Slides predicted in another order than ingested, and one ingested after."""
    predict(store, facts(head_digest="2"), {"b.svs": two(CHANCES["b.svs"])})
    assert write_anndata(export_scope(store, head="lesion"), tmp_path / "x.h5ad") == 14
    predict(store, facts(head_digest="2"), {"a.svs": two(CHANCES["a.svs"])})
    write_anndata(export_scope(store, head="lesion"), tmp_path / "x.h5ad")
    made = anndata.read_h5ad(tmp_path / "x.h5ad")
    said = store.predictions("lesion").table()
    expected = dict(zip(map(str, said["tile_id"].to_pylist()), said["p_tumour"].to_pylist(), strict=True))
    assert dict(zip(made.obs_names, made.obs["p_tumour"], strict=True)) == pytest.approx(expected)


def test_anndata_of_a_collection_alone_and_of_a_head_for_slides(store: Store, tmp_path: Path, anndata):
    write_anndata(export_scope(store), tmp_path / "x.h5ad")
    made = anndata.read_h5ad(tmp_path / "x.h5ad")
    assert "label" not in made.obs and "head" not in made.uns["embedstore"] and made.n_obs == 17
    made_by = facts(head="grade", level="slide", classes=("I/II", "III"), positive="III", thresholds={"III": 0.5})
    answers = {"a.svs": two([0.9])[0], "b.svs": two([0.1])[0]}
    predict_slides(store, made_by, answers, {"a.svs": np.array([0.1, 0.7, 0.2])})
    write_anndata(export_scope(store, head="grade", slides=["a.svs"]), tmp_path / "x.h5ad")
    made = anndata.read_h5ad(tmp_path / "x.h5ad")
    np.testing.assert_allclose(made.obs["attention"], [0.1, 0.7, 0.2])
    assert set(made.obs["label"]) == {"III"} and made.uns["embedstore"]["head"]["columns"]["I_II"] == "p_I_II"


def test_anndata_of_a_folder_has_no_places(store: Store, tmp_path: Path, anndata):
    add_folder(store, "patches", ("x.png", "y.png"))
    write_anndata(export_scope(store, slides=["patches"]), tmp_path / "x.h5ad")
    made = anndata.read_h5ad(tmp_path / "x.h5ad")
    assert "spatial" not in made.obsm and list(made.obs["name"]) == ["x.png", "y.png"]


def test_without_anndata_the_error_says_how_to_get_it(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "anndata", None)
    with pytest.raises(ExportError, match=r"pip install 'embedstore\[anndata\]'"):
        write_anndata(export_scope(store), tmp_path / "x.h5ad")
