"""`embedstore fit-head` with what the store has for augmentation."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.main import app
from heads.augmentation.augmenter_fit import fit_augmenter
from heads.augmentation.policies import resolve_search
from heads.config import AugmentConfig, FitConfig
from tests.heads.view_stores import TINY, VIEWS, labelled


@pytest.mark.slow
def test_search_takes_what_is_at_hand(tmp_path: Path):
    store = labelled(tmp_path, slides=8, tiles=20)
    asked = ["fit-head", "--store", store.uri, "--task", "size", "--folds", "3", "--steps", "20", "--augment", "search"]
    assert CliRunner().invoke(app, asked, catch_exceptions=False).exit_code == 0
    tried = {cell["augment"] for cell in store.heads.get("size-linear").record["selection"]}
    assert {"none", "views=0.8"} <= tried and not any("learned" in text for text in tried)
    shown = CliRunner().invoke(app, ["heads", "show", "size-linear", "--store", store.uri]).output
    assert f"{VIEWS.count} views of 160 tiles" in shown
    of_slides = resolve_search(
        store, store.collection(), FitConfig(model="mean", level="slide", augment=("search", AugmentConfig()))
    )
    assert len(of_slides.policies) > 1 and of_slides.draws and not of_slides.uses("views", "learned")
    for name in ("mine", "other"):
        fit_augmenter(store, store.collection(), TINY, name=name, force=True)
    named = [*asked, "--augmenter", "other", "--name", "of-other"]
    assert CliRunner().invoke(app, named, catch_exceptions=False).exit_code == 0
    record = store.heads.get("of-other").record
    assert any("learned" in cell["augment"] for cell in record["selection"])
    assert record["augmenter"]["name"] == "other"
