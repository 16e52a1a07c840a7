"""A sample through every candidate: the vectors that ingest would store, on the same places, whoever fails."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from embedstore.errors import CandidatesError, ConfigError, DeviceError, RegionReadError, SlideNotFoundError
from embedstore.extractors import ExtractorConfig, load_extractor
from embedstore.slides import fit_square, open_slide
from embedstore.store import Collection, Store
from embedstore.views import apply_view
from heads.select.candidates import PERTURBATIONS, CandidateEmbeddings, embed_sample, sample_pixels
from tests.slides.drawings import damage_tile

from .toy_extractors import ingested, toy, toys, vectors, write_slides, write_tiles

pytestmark = pytest.mark.slow

Scene = tuple[Store, Collection, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("candidates")


@pytest.fixture(scope="module")
def file(folder: Path) -> Path:
    return toys(folder)


@pytest.fixture(scope="module")
def scene(folder: Path, file: Path) -> Scene:
    return ingested(folder / "store", write_slides(folder / "slides"), toy(file, "Blocks"))


@pytest.fixture(scope="module")
def tiles_scene(folder: Path, file: Path) -> Scene:
    """Images of 80 px, of which a collection of 80 px tiles was made."""
    return ingested(folder / "tiles-store", write_tiles(folder / "tiles"), toy(file, "pooled"), tile_px=80)


# -- what is embedded -----------------------------------------------------------------------


def test_vectors_are_those_that_ingest_stored(scene: Scene, file: Path, tmp_path: Path):
    store, collection, rows = scene
    assert len({row["slide_id"] for row in rows}) == 2
    mixed = [rows[i] for i in np.random.default_rng(0).permutation(len(rows))[:23]]
    trial = embed_sample(store, collection, mixed, [toy(file, "Blocks")], changes={}, scratch=tmp_path)
    (blocks,) = trial.embedded
    np.testing.assert_array_equal(blocks.vectors, vectors(mixed))
    assert blocks.vectors.dtype == np.float16 and trial.readable.all() and not trial.failed and not trial.notes
    assert (blocks.name, blocks.digest, blocks.dim, blocks.tile_px, blocks.mpp) == (
        "blocks",
        "sha256:blocks",
        48,
        64,
        0.5,
    )
    assert blocks.device == "cpu" and blocks.tiles_per_s > 0 and trial.read_s > 0


@pytest.mark.parametrize(("name", "edge_l0", "edge_px"), [("Fine", 32, 32), ("Wide", 384, 96)])
def test_other_tilings_are_cut_around_the_same_centres(
    scene: Scene, file: Path, tmp_path: Path, name, edge_l0, edge_px
):
    store, collection, rows = scene
    config = toy(file, name)
    trial = embed_sample(store, collection, rows, [config], changes={}, scratch=tmp_path)
    extractor = load_extractor(config)
    paths = {row["slide_id"]: row["path"] for row in store.ledger.slides()}
    for row, vector in zip(rows, trial.embedded[0].vectors, strict=True):
        with open_slide(paths[row["slide_id"]]) as slide:
            width, height = slide.size_l0
            x = int(np.clip(row["x"] + (128 - edge_l0) // 2, 0, width - edge_l0))
            y = int(np.clip(row["y"] + (128 - edge_l0) // 2, 0, height - edge_l0))
            level = 0 if name == "Fine" else 2
            region = slide.read_region((x, y), level, (edge_px, edge_px))
        np.testing.assert_array_equal(vector, extractor.embed(fit_square(region, extractor.tile_px)[None])[0])


def test_tiles_asked_for_are_those_of_every_candidate(scene: Scene, file: Path, tmp_path: Path):
    store, collection, rows = scene
    candidates = [ExtractorConfig(ref="colour-12"), toy(file, "pooled")]
    trial = embed_sample(store, collection, rows[:4], candidates, changes={}, tile_px=40, mpp=1.0, scratch=tmp_path)
    assert [(one.tile_px, one.mpp) for one in trial.embedded] == [(40, 1.0)] * 2


def test_each_slide_is_opened_once(scene: Scene, file: Path, tmp_path: Path, monkeypatch):
    store, collection, rows = scene
    opened: list[str] = []

    def counted(path: str, **how: Any):
        opened.append(path)
        return open_slide(path, **how)

    monkeypatch.setattr(sample_pixels, "open_slide", counted)
    candidates = [toy(file, name) for name in ("Blocks", "Fine", "Wide", "pooled")]
    trial = embed_sample(store, collection, rows, candidates, changes={}, scratch=tmp_path)
    assert len(trial.embedded) == 4 and len(opened) == len(set(opened)) == 2
    # `pooled` takes 48 px at 0.5: four tilings, each read into one file.
    assert len(list(tmp_path.iterdir())) == 4


def test_changed_tiles_are_embedded_after_each_change(scene: Scene, file: Path, tmp_path: Path):
    store, collection, rows = scene
    at = np.array([5, 2, 9, 11, 3, 7, 8])
    trial = embed_sample(store, collection, rows, [toy(file, "Blocks")], changed_rows=at, scratch=tmp_path)
    (blocks,) = trial.embedded
    assert list(blocks.changed) == ["stain", "blur", "jpeg", "rotation"]
    pixels = np.load(tmp_path / "64px-0.5mpp.npy")
    extractor = load_extractor(toy(file, "Blocks"))
    for name, parameters in PERTURBATIONS.items():
        expected = extractor.embed(np.stack([apply_view(pixels[i], parameters) for i in at]))
        np.testing.assert_array_equal(blocks.changed[name], expected)
    grid = blocks.vectors[at].reshape(-1, 4, 4, 3)
    np.testing.assert_array_equal(blocks.changed["rotation"].reshape(-1, 4, 4, 3), np.rot90(grid, axes=(1, 2)))
    assert np.abs(blocks.changed["stain"] - blocks.vectors[at]).max() > 3


def test_all_rows_are_changed_unless_said_otherwise(scene: Scene, file: Path, tmp_path: Path):
    store, collection, rows = scene
    trial = embed_sample(store, collection, rows[:7], [toy(file, "Blocks")], scratch=tmp_path)
    assert {name: len(changed) for name, changed in trial.embedded[0].changed.items()} == dict.fromkeys(
        PERTURBATIONS, 7
    )


# -- ready-made tiles -----------------------------------------------------------------------


def test_ready_made_tiles_are_given_as_the_collection_has_them(tiles_scene: Scene, file: Path, tmp_path: Path):
    store, collection, rows = tiles_scene
    candidates = [
        toy(file, "pooled"),
        ExtractorConfig(ref="colour-12"),
        toy(file, "Fine"),
        toy(file, "pooled", tile_px=16),
    ]
    trial = embed_sample(store, collection, rows, candidates, changes={}, scratch=tmp_path)
    assert [(one.tile_px, one.mpp) for one in trial.embedded] == [(80, 0.5), (80, 0.5), (32, 0.5), (16, 0.5)]
    np.testing.assert_array_equal(trial.embedded[0].vectors, vectors(rows))
    assert trial.embedded[0].digest == collection.record()["extractor"]["digest"]


def test_a_missing_image_costs_itself_for_every_candidate(file: Path, tmp_path: Path):
    store, collection, rows = ingested(tmp_path / "store", write_tiles(tmp_path / "t"), toy(file, "pooled"), tile_px=80)
    (tmp_path / "t" / rows[2]["name"]).unlink()
    (tmp_path / "scratch").mkdir()
    candidates = [toy(file, "pooled"), toy(file, "Fine")]
    trial = embed_sample(store, collection, rows, candidates, scratch=tmp_path / "scratch")
    assert trial.readable.tolist() == [i != 2 for i in range(6)]
    for one, whole in zip(trial.embedded, (vectors(rows), None), strict=True):
        assert not one.vectors[2].any() and one.vectors[3].any()
        assert not one.changed["blur"][2].any() and one.changed["blur"][3].any()
        if whole is not None:
            np.testing.assert_array_equal(one.vectors[trial.readable], whole[trial.readable])
    (note,) = trial.notes
    assert note.startswith("1 of 6 tiles are left out, as they cannot be read any more: tile ")


# -- slides that are lost -------------------------------------------------------------------


@pytest.fixture
def lossy(file: Path, tmp_path: Path) -> tuple[Scene, Path]:
    slides = write_slides(tmp_path / "slides")
    (tmp_path / "scratch").mkdir()
    return ingested(tmp_path / "store", slides, toy(file, "Blocks")), slides


def test_a_lost_slide_costs_its_tiles(lossy: tuple[Scene, Path], file: Path, tmp_path: Path):
    (store, collection, rows), slides = lossy
    (slides / "s0.svs").unlink()
    mine = np.array([row["slide_id"] == "s1.svs" for row in rows])
    trial = embed_sample(store, collection, rows, [toy(file, "Blocks")], changes={}, scratch=tmp_path / "scratch")
    np.testing.assert_array_equal(trial.readable, mine)
    np.testing.assert_array_equal(trial.embedded[0].vectors, np.where(mine[:, None], vectors(rows), 0))
    (note,) = trial.notes
    assert f"{(~mine).sum()} of {len(rows)} tiles are left out" in note and "s0.svs; slide 's0.svs' is not at" in note
    (slides / "s1.svs").unlink()
    with pytest.raises(SlideNotFoundError, match=r"'s0.svs' is not at .*bring it back there"):
        embed_sample(store, collection, rows, [toy(file, "Blocks")], scratch=tmp_path / "scratch")


def test_a_damaged_tile_costs_itself_at_every_tiling(lossy: tuple[Scene, Path], file: Path, tmp_path: Path):
    (store, collection, rows), slides = lossy
    damage_tile(slides / "s0.svs", page=0, index=0)  # level 0 alone, which `Fine` reads
    candidates = [toy(file, "Fine"), toy(file, "Blocks")]
    trial = embed_sample(store, collection, rows, candidates, changes={}, scratch=tmp_path / "scratch")
    lost = [i for i, row in enumerate(rows) if row["slide_id"] == "s0.svs" and row["x"] < 128 and row["y"] < 128]
    assert lost and np.flatnonzero(~trial.readable).tolist() == lost
    assert not trial.embedded[1].vectors[lost].any()
    only = [rows[i] for i in lost]
    with pytest.raises(RegionReadError):
        embed_sample(store, collection, only, candidates, scratch=tmp_path / "scratch")


# -- candidates that fail -------------------------------------------------------------------


def test_candidates_that_fail_cost_themselves(scene: Scene, file: Path, tmp_path: Path):
    store, collection, rows = scene
    fail = {
        "no-such-network": ("UnknownExtractorError", "no extractor is called 'no-such-network'"),
        "Overflowing": ("ExtractorError", "float16 cannot hold"),
        "Short": ("ExtractorError", "gives embeddings of shape (7,); it states (48,)"),
        "OutOfMemory": ("RuntimeError", "CUDA out of memory. Tried to allocate 2 GiB"),
        "odd": ("KeyError", "a user's own mistake"),
        "Finest": ("ResolutionError", "coarser than the asked 0.1"),
        "uni2-h": ("WeightsError", ""),
    }
    candidates = [ExtractorConfig(ref=name) if name[0] in "nu" else toy(file, name) for name in fail]
    told: list[str] = []
    good = toy(file, "Blocks")
    trial = embed_sample(
        store, collection, rows[:9], [candidates[0], good, *candidates[1:]], changes={}, scratch=tmp_path,
        tell=told.append,
    )  # fmt: skip
    assert [one.config for one in trial.failed] == candidates
    for one, (kind, words) in zip(trial.failed, fail.values(), strict=True):
        assert one.error.startswith(f"{kind}: ") and words in one.error and "\n" not in one.error
    np.testing.assert_array_equal(trial.embedded[0].vectors, vectors(rows[:9]))
    assert told[0] == "read 9 tiles of 1 slide(s) at 3 tiling(s)" and len(told) == 9
    assert told[1].startswith("1 of 8: no-such-network cannot be tried: UnknownExtractorError: ")
    assert told[2].startswith("2 of 8: blocks, ") and told[2].endswith(" tiles/s on cpu")


def test_if_none_is_left_each_says_why(scene: Scene, file: Path, tmp_path: Path):
    store, collection, rows = scene
    with pytest.raises(
        CandidatesError, match=r"not one of 2 candidate\(s\) could be tried: nothing: Unk.*; blocks: Ru"
    ):
        embed_sample(
            store, collection, rows, [ExtractorConfig(ref="nothing"), toy(file, "OutOfMemory")], scratch=tmp_path
        )
    with pytest.raises(CandidatesError, match="could be tried: nothing"):
        embed_sample(store, collection, rows, [ExtractorConfig(ref="nothing")], scratch=tmp_path / "not-there")
    with pytest.raises(CandidatesError, match="no candidate was given"):
        embed_sample(store, collection, rows, [], scratch=tmp_path)


def test_what_stops_the_run_before_any_work(scene: Scene, file: Path, tmp_path: Path, monkeypatch):
    store, collection, rows = scene
    with pytest.raises(DeviceError, match="expected auto, cpu, cuda"):
        embed_sample(store, collection, rows, [toy(file, "Blocks")], device="tpu", scratch=tmp_path)
    with pytest.raises(ConfigError, match="tile_px is 9; expected 16 to 8192"):
        embed_sample(store, collection, rows, [toy(file, "Blocks")], tile_px=9, scratch=tmp_path)
    monkeypatch.setattr(sample_pixels.shutil, "disk_usage", lambda path: SimpleNamespace(free=10))
    with pytest.raises(ConfigError, match=r"take 0\.0 GB, and .* set TMPDIR to a roomier folder"):
        embed_sample(store, collection, rows, [toy(file, "Blocks")], scratch=tmp_path)
    assert not list(tmp_path.iterdir())


# -- names ----------------------------------------------------------------------------------


def names(trial_of: tuple[CandidateEmbeddings, ...]) -> list[str]:
    return [one.name for one in trial_of]


def test_the_same_candidate_twice_is_told_apart(scene: Scene, file: Path, tmp_path: Path):
    store, collection, rows = scene
    twice = [toy(file, "Blocks"), toy(file, "Blocks")]
    trial = embed_sample(store, collection, rows[:3], twice, changes={}, scratch=tmp_path)
    assert names(trial.embedded) == ["blocks", "blocks-2"]
    assert trial.notes == ("blocks and blocks-2 are the same extractor, by their digest",)
