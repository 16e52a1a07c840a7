"""Tables of labels and splits of Patho-Bench, PathoROB and eva are read as they are."""

from pathlib import Path

import pytest

from embedstore.errors import LabelFormatError
from embedstore.labels import ImportConfig, read_labels
from embedstore.store import Store
from tests.heads.scene import make_store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return make_store(tmp_path_factory.mktemp("tools"), slides=6, tiles=4)


def read(store: Store, path: Path, text: str, **settings: object):
    path.write_text(text, encoding="utf-8")
    return read_labels(store, [path], ImportConfig(**{"task": "mut", "author": "me", **settings}))  # type: ignore[arg-type]


def test_a_split_of_patho_bench_gives_labels_of_slides(store: Store, tmp_path: Path):
    (tmp_path / "config.yaml").write_text(
        "task_col: TP53\nsample_col: case_id\nextra_cols: []\nlabel_dict: {0: wild, 1: mutant}\nmetrics: [auroc]\n"
    )
    rows = "P00\ts00\t{}\t61\ttrain\ttest\nP01\ts02\t1\t70\ttest\ttrain\nP02\ts04\t\t70\ttest\ttrain\n"
    found = read(store, tmp_path / "k=all.tsv", "case_id\tslide_id\tTP53\tage\tfold_0\tfold_1\n" + rows.format(0))
    assert [(label.kind, label.slide_id, label.label, label.patient, label.split) for label in found.labels] == [
        ("slide", "s00.svs", "wild", "P00", None),
        ("slide", "s02.svs", "mutant", "P01", None),
    ]
    assert any("--split-file k=all.tsv` takes its 2 folds" in note for note in found.notes)
    (tmp_path / "config.yaml").unlink()
    with pytest.raises(LabelFormatError, match=r"column of labels is not clear: it has TP53, age"):
        read(store, tmp_path / "k=all.tsv", "case_id\tslide_id\tTP53\tage\tfold_0\tfold_1\n" + rows.format(0))
    one = read(store, tmp_path / "k=all.tsv", "case_id\tslide_id\tmut\tage\tfold_0\nP00\ts00\tyes\t3\ttrain\n")
    assert [(label.label, label.split) for label in one.labels] == [("yes", "train")]
    (tmp_path / "config.yaml").write_text("{a: [")
    with pytest.raises(LabelFormatError, match=r"is no configuration of Patho-Bench"):
        read(store, tmp_path / "k=all.tsv", "case_id\tslide_id\tmut\tfold_0\nP00\ts00\tyes\ttrain\n")


def test_pathorob_names_tiles_by_their_place(store: Store, tmp_path: Path):
    text = (
        "subset,slide_id,patch_id,biological_class,medical_center\nID,s00,512_0_512,tumour,A\nID,s02,0_0_512,normal,B\n"
    )
    found = read(store, tmp_path / "cells.csv", text)
    assert [(each.kind, each.slide_id, each.x, each.y, each.edge_l0, each.label) for each in found.labels] == [
        ("tile", "s00.svs", 512, 0, 512, "tumour"),
        ("tile", "s02.svs", 0, 0, 512, "normal"),
    ]


def test_a_manifest_of_eva_gives_a_label_a_slide(store: Store, tmp_path: Path):
    text = (
        "origin,embeddings,target,split,wsi_id\na,s00/1.pt,1,train,s00\nb,s00/2.pt,1,train,s00\nc,s02/1.pt,0,val,s02\n"
    )
    found = read(store, tmp_path / "manifest.csv", text, class_map={"1": "tumour", "0": "normal"})
    assert [(label.kind, label.slide_id, label.label, label.split) for label in found.labels] == [
        ("slide", "s00.svs", "tumour", "train"),
        ("slide", "s02.svs", "normal", "val"),
    ]
