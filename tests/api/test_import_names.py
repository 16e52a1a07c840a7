"""Extractors have their names of the catalogue in a store, and those of the tool in its files."""

from pathlib import Path

import numpy as np
import pytest

import embedstore
from embedstore.api.importing import import_request, run_import
from embedstore.extractors import catalogue
from embedstore.layouts import LAYOUTS
from embedstore.layouts.extractor_names import NAMES, name_of_catalogue, name_of_tool
from tests.layouts.files import write_trident

UNI2 = np.random.default_rng(0).standard_normal((6, 1536)).astype(np.float16).astype(np.float32)


@pytest.mark.parametrize(("layout", "name"), [(layout, name) for layout, names in NAMES.items() for name in names])
def test_each_name_goes_there_and_back(layout: str, name: str):
    assert layout in LAYOUTS
    stated = name_of_tool(layout, name)
    assert stated != name
    assert name_of_catalogue(layout, stated, catalogue()[name].embedding_dim) == name
    assert name_of_catalogue(layout, stated, 8) == stated


@pytest.mark.slow
@pytest.mark.parametrize(("layout", "stated"), [("trident", "uni_v2"), ("stamp", "uni2")])
def test_a_name_survives_a_round_trip(layout: str, stated: str, tmp_path: Path):
    write_trident(tmp_path / "job", "a", encoder="uni_v2", features=UNI2)
    store = embedstore.create(tmp_path / "store")
    store.import_features(tmp_path / "job", slide_mpp=0.25)
    assert store.collection().record.extractor.ref.name == "uni2-h"
    store.export_layout(tmp_path / "out", layout)
    assert len(list((tmp_path / "out").rglob(f"*{stated}/a.h5"))) == 1
    request = import_request(tmp_path / "out", str(tmp_path / "again"))
    assert any(f"calls the extractor {stated}, embedstore uni2-h" in line for line in request.understood.lines())
    run_import(request)
    again = embedstore.open(tmp_path / "again").collection()
    imported = again.record.imported
    assert (imported["stated"]["extractor"], imported["understood"]["extractor"]) == (stated, "uni2-h")
    assert again.name == "uni2-h-256px-0.5mpp"
    np.testing.assert_array_equal(again.vectors(), UNI2)


@pytest.mark.slow
def test_the_user_and_the_collection_have_the_last_word(tmp_path: Path):
    job = tmp_path / "job"
    write_trident(job, "a", encoder="uni_v2", features=UNI2)
    store = embedstore.create(tmp_path / "store")
    store.import_features(job, extractor="uni_v2", limit=1)  # as it was called before there was a table of names
    write_trident(job, "b", encoder="uni_v2", features=UNI2)
    assert store.import_features(job).summary.already == 1
    assert [collection.name for collection in store.collections] == ["uni_v2-256px-0.5mpp"]


def test_another_output_of_a_network_keeps_its_name_and_is_told(tmp_path: Path):
    write_trident(tmp_path / "job", "a", encoder="virchow", features=UNI2[:, :1280])
    lines = import_request(tmp_path / "job", str(tmp_path / "store")).understood.lines()
    assert any("virchow of `embedstore extractors` gives 2560 dimensions" in line for line in lines)
