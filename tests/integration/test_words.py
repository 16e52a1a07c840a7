"""From slides to words, through the command line: ingest, search by words, classify by words, export."""

import csv
from pathlib import Path

import numpy as np
import pytest

from embedstore.extractors import ExtractorConfig, load_extractor
from embedstore.store import Store
from tests.extractors.tower_folders import open_clip_folder
from tests.two_towers import REF

from .conftest import embedstore

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=["colours", "open_clip"])
def made(request, slides: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, str]:
    """A store of three slides, and the extractor that made it."""
    folder = tmp_path_factory.mktemp("words")
    ref = REF if request.param == "colours" else f"open_clip:{open_clip_folder(folder / 'tiny')}"
    args = ("-e", ref, "--in-process", "--json")
    assert embedstore("ingest", slides / "slides.csv", "-s", folder / "store", *args).code == 3  # one file is torn
    return Store.open(str(folder / "store")), ref


def cosines(store: Store, ref: str, text: str) -> np.ndarray:
    vectors = np.array(store.collection().tiles(columns=["vector"])["vector"].to_pylist(), np.float64)
    words = load_extractor(ExtractorConfig(ref=ref), device="cpu").text_tower.embed_text([text])[0]
    return vectors @ words / np.linalg.norm(vectors, axis=1) / np.linalg.norm(words)


def test_words_find_the_nearest_tiles(made):
    store, ref = made
    found = embedstore("search", "-s", store.uri, "--text", "red blue", "-k", 5, "--trust-extractor", "--json")
    assert found.code == 0, found.err
    distances = np.sort(1 - cosines(store, ref, "red blue"))[:5]
    np.testing.assert_allclose([hit["distance"] for hit in found.json()["hits"]], distances, atol=1e-3)
    text = store.collection().record().extractor.details["text"]
    assert text["digest"].startswith("sha256:") and text["logit_scale"] > 0


def test_words_classify_every_tile(made, tmp_path: Path):
    store, ref = made
    classes = ("--class", "warm=red", "--class", "cold=blue", "--class", "leaf=green")
    asked = ("zero-shot", "-s", store.uri, "--task", "colour", "--trust-extractor", "--replace", *classes)
    done = embedstore(*asked, "--json").json()
    assert done["predicted"]["rows"] == len(store.collection())
    assert (
        embedstore(
            "export", "-s", store.uri, "--head", done["name"], "--format", "csv", "--out", tmp_path / "p.csv"
        ).code
        == 0
    )
    with open(tmp_path / "p.csv") as file:
        rows = list(csv.DictReader(file))
    expected = np.stack([cosines(store, ref, colour) for colour in ("red", "blue", "green")]).argmax(axis=0)
    assert len(rows) == len(expected)
    shares = [done["predicted"]["shares"][name] for name in ("warm", "cold", "leaf")]
    np.testing.assert_allclose(shares, np.bincount(expected, minlength=3) / len(expected), atol=0.02)
