"""What `select-extractor` does where a probe has too few tiles, or a task to check on is lost."""

import shutil
from pathlib import Path

import pytest

from embedstore.errors import LabelError
from embedstore.extractors import ExtractorConfig
from heads.config import SplitConfig
from heads.select import SelectConfig, select_extractor
from tests.integration.test_select_extractor import ingest, make_tiles

CANDIDATES = [ExtractorConfig(ref="colour-12")]


def asked(**others) -> SelectConfig:
    small = {"c": (0.01,), "draws": 2, "robust_tiles": 0, "bootstrap": 20, "shots": (1,)}
    return SelectConfig(split=SplitConfig(folds=3), **(small | others))


def test_too_few_tiles_to_rank_by_are_said_before_a_pixel_is_read(tmp_path: Path):
    tiles = make_tiles(tmp_path / "shade")
    store = ingest(tiles, tmp_path / "store")
    shutil.rmtree(tiles)  # reading would fail
    with pytest.raises(LabelError, match=r"fewer than 40 tiles to train on.*rank by 'linear'"):
        select_extractor(
            store, store.collection(), "shade", CANDIDATES, asked(shots=(1, 40), rank_by="40-shot"),
        )  # fmt: skip


@pytest.mark.slow
def test_a_task_whose_tiles_are_lost_costs_a_note_and_not_the_ranking(tmp_path: Path):
    lost = make_tiles(tmp_path / "lost")
    ingest(lost, tmp_path / "store")
    store = ingest(make_tiles(tmp_path / "shade"), tmp_path / "store")
    shutil.rmtree(lost)
    report = select_extractor(store, store.collection(), "shade", CANDIDATES, asked(), rank_check=["lost"])
    assert report.tried[0].scores["linear"].value > 0.9 and not report.rank_checks
    assert [note for note in report.notes if note.startswith("the ranking is not checked on lost: ")]
