"""A sample through every candidate: the vectors that ingest would store, on the same places, whoever fails."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from embedstore.errors import CandidatesError, ConfigError, DeviceError, RegionReadError, SlideNotFoundError
from embedstore.extractors import ExtractorConfig, load_extractor
from embedstore.progress import OnProgress, Progress, no_progress
from embedstore.slides import fit_square, open_slide
from embedstore.store import Collection, Store, TileLocation
from embedstore.views.apply import apply_view
from heads.select.candidates import (
    PERTURBATIONS,
    CandidateEmbeddings,
    CandidateRequest,
    SampleEmbeddings,
    embed_sample,
    sample_pixels,
)
from tests.slides.drawings import damage_tile

from .toy_extractors import ingested, toy, toys, vectors, write_slides, write_tiles

pytestmark = pytest.mark.slow

Scene = tuple[Store, Collection, list[dict[str, Any]]]


def embed(
    store: Store,
    collection: Collection,
    rows: list[dict[str, Any]],
    candidates: list[ExtractorConfig],
    *,
    scratch: Path,
    perturbed_rows: np.ndarray | None = None,
    on_progress: OnProgress = no_progress,
    **request: Any,
) -> SampleEmbeddings:
    """The places of some rows through candidates, with all of them perturbed unless said otherwise."""
    tiles = [TileLocation.from_row(row) for row in rows]
    return embed_sample(
        store, collection, tiles, CandidateRequest(candidates=candidates, **request),
        perturbed_rows=np.arange(len(rows)) if perturbed_rows is None else perturbed_rows,
        scratch=scratch, on_progress=on_progress,
    )  # fmt: skip


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
    sample = embed(store, collection, mixed, [toy(file, "Blocks")], scratch=tmp_path)
    (blocks,) = sample.embedded
    np.testing.assert_array_equal(blocks.vectors, vectors(mixed))
    assert blocks.vectors.dtype == np.float16 and sample.readable.all() and not sample.failed and not sample.notes
    assert (blocks.name, blocks.digest, blocks.dim, blocks.tile_px, blocks.mpp) == (
        "blocks",
        "sha256:blocks",
        48,
        64,
        0.5,
    )
    assert blocks.device == "cpu" and blocks.tiles_per_s > 0 and sample.read_s > 0


@pytest.mark.parametrize(("name", "edge_l0", "edge_px"), [("Fine", 32, 32), ("Wide", 384, 96)])
def test_other_tilings_are_cut_around_the_same_centres(
    scene: Scene, file: Path, tmp_path: Path, name, edge_l0, edge_px
):
    store, collection, rows = scene
    config = toy(file, name)
    sample = embed(store, collection, rows, [config], scratch=tmp_path)
    extractor = load_extractor(config)
    paths = {row.slide_id: row.path for row in store.ledger.slides()}
    for row, vector in zip(rows, sample.embedded[0].vectors, strict=True):
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
    sample = embed(store, collection, rows[:4], candidates, tile_px=40, mpp=1.0, scratch=tmp_path)
    assert [(one.tile_px, one.mpp) for one in sample.embedded] == [(40, 1.0)] * 2


def test_each_slide_is_opened_once(scene: Scene, file: Path, tmp_path: Path, monkeypatch):
    store, collection, rows = scene
    opened: list[str] = []

    def counted(path: str, **how: Any):
        opened.append(path)
        return open_slide(path, **how)

    monkeypatch.setattr(sample_pixels, "open_slide", counted)
    candidates = [toy(file, name) for name in ("Blocks", "Fine", "Wide", "pooled")]
    sample = embed(store, collection, rows, candidates, scratch=tmp_path)
    assert len(sample.embedded) == 4 and len(opened) == len(set(opened)) == 2
    # `pooled` takes 48 px at 0.5: four tilings, each read into one file.
    assert len(list(tmp_path.iterdir())) == 4


def test_tiles_are_embedded_after_each_perturbation(scene: Scene, file: Path, tmp_path: Path):
    store, collection, rows = scene
    at = np.array([5, 2, 9, 11, 3, 7, 8])
    sample = embed(
        store, collection, rows, [toy(file, "Blocks")], perturbations=PERTURBATIONS, perturbed_rows=at, scratch=tmp_path
    )
    (blocks,) = sample.embedded
    assert list(blocks.perturbed) == ["stain", "blur", "jpeg", "rotation"]
    pixels = np.load(tmp_path / "64px-0.5mpp.npy")
    extractor = load_extractor(toy(file, "Blocks"))
    for name, parameters in PERTURBATIONS.items():
        expected = extractor.embed(np.stack([apply_view(pixels[i], parameters) for i in at]))
        np.testing.assert_array_equal(blocks.perturbed[name], expected)
    grid = blocks.vectors[at].reshape(-1, 4, 4, 3)
    np.testing.assert_array_equal(blocks.perturbed["rotation"].reshape(-1, 4, 4, 3), np.rot90(grid, axes=(1, 2)))
    assert np.abs(blocks.perturbed["stain"] - blocks.vectors[at]).max() > 3


def test_a_perturbation_of_no_tile_gives_no_vector(scene: Scene, file: Path, tmp_path: Path):
    store, collection, rows = scene
    none = np.empty(0, np.intp)
    embeddings = embed(
        store, collection, rows[:7], [toy(file, "Blocks")], perturbations=PERTURBATIONS, perturbed_rows=none,
        scratch=tmp_path,
    )  # fmt: skip
    (blocks,) = embeddings.embedded
    assert {name: vectors.shape for name, vectors in blocks.perturbed.items()} == dict.fromkeys(PERTURBATIONS, (0, 48))
    assert len(blocks.vectors) == 7


# -- ready-made tiles -----------------------------------------------------------------------


def test_ready_made_tiles_are_given_as_the_collection_has_them(tiles_scene: Scene, file: Path, tmp_path: Path):
    store, collection, rows = tiles_scene
    candidates = [
        toy(file, "pooled"),
        ExtractorConfig(ref="colour-12"),
        toy(file, "Fine"),
        toy(file, "pooled", tile_px=16),
    ]
    sample = embed(store, collection, rows, candidates, scratch=tmp_path)
    assert [(one.tile_px, one.mpp) for one in sample.embedded] == [(80, 0.5), (80, 0.5), (32, 0.5), (16, 0.5)]
    np.testing.assert_array_equal(sample.embedded[0].vectors, vectors(rows))
    assert sample.embedded[0].digest == collection.extractor().digest


def test_a_missing_image_costs_itself_for_every_candidate(file: Path, tmp_path: Path):
    store, collection, rows = ingested(tmp_path / "store", write_tiles(tmp_path / "t"), toy(file, "pooled"), tile_px=80)
    (tmp_path / "t" / rows[2]["name"]).unlink()
    (tmp_path / "scratch").mkdir()
    candidates = [toy(file, "pooled"), toy(file, "Fine")]
    sample = embed(store, collection, rows, candidates, perturbations=PERTURBATIONS, scratch=tmp_path / "scratch")
    assert sample.readable.tolist() == [i != 2 for i in range(6)]
    for one, whole in zip(sample.embedded, (vectors(rows), None), strict=True):
        assert not one.vectors[2].any() and one.vectors[3].any()
        assert not one.perturbed["blur"][2].any() and one.perturbed["blur"][3].any()
        if whole is not None:
            np.testing.assert_array_equal(one.vectors[sample.readable], whole[sample.readable])
    (note,) = sample.notes
    assert note.startswith("1 of 6 tiles are left out, as they cannot be read any more: image ") and "4.png" in note


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
    sample = embed(store, collection, rows, [toy(file, "Blocks")], scratch=tmp_path / "scratch")
    np.testing.assert_array_equal(sample.readable, mine)
    np.testing.assert_array_equal(sample.embedded[0].vectors, np.where(mine[:, None], vectors(rows), 0))
    (note,) = sample.notes
    assert f"{(~mine).sum()} of {len(rows)} tiles are left out" in note and "s0.svs; slide 's0.svs' is not at" in note
    (slides / "s1.svs").unlink()
    with pytest.raises(SlideNotFoundError, match=r"'s0.svs' is not at .*bring it back there"):
        embed(store, collection, rows, [toy(file, "Blocks")], scratch=tmp_path / "scratch")


def test_a_damaged_tile_costs_itself_at_every_tiling(lossy: tuple[Scene, Path], file: Path, tmp_path: Path):
    (store, collection, rows), slides = lossy
    damage_tile(slides / "s0.svs", page=0, index=0)  # level 0 alone, which `Fine` reads
    candidates = [toy(file, "Fine"), toy(file, "Blocks")]
    sample = embed(store, collection, rows, candidates, scratch=tmp_path / "scratch")
    lost = [i for i, row in enumerate(rows) if row["slide_id"] == "s0.svs" and row["x"] < 128 and row["y"] < 128]
    assert lost and np.flatnonzero(~sample.readable).tolist() == lost
    assert not sample.embedded[1].vectors[lost].any()
    only = [rows[i] for i in lost]
    with pytest.raises(RegionReadError):
        embed(store, collection, only, candidates, scratch=tmp_path / "scratch")


# -- candidates that fail -------------------------------------------------------------------


def test_candidates_that_fail_cost_themselves(scene: Scene, file: Path, tmp_path: Path):
    store, collection, rows = scene
    fail = {
        "no-such-network": ("UnknownExtractorError", "no extractor is called 'no-such-network'"),
        "Overflowing": ("ExtractorError", "float16 cannot hold"),
        "Short": ("ExtractorError", "gives embeddings of shape (7,); it states (48,)"),
        "OutOfMemory": ("RuntimeError", "CUDA out of memory. Tried to allocate 2 GiB"),
        "odd": ("KeyError", "a user's own mistake"),
        "Finest": ("ResolutionError", "coarser than the requested 0.1"),
        "uni2-h": ("WeightsError", ""),
    }
    candidates = [ExtractorConfig(ref=name) if name[0] in "nu" else toy(file, name) for name in fail]
    messages: list[str] = []

    def on_progress(progress: Progress) -> None:
        if progress.message:
            messages.append(progress.message)

    good = toy(file, "Blocks")
    sample = embed(
        store, collection, rows[:9], [candidates[0], good, *candidates[1:]], scratch=tmp_path,
        on_progress=on_progress,
    )  # fmt: skip
    assert [one.config for one in sample.failed] == candidates
    for one, (kind, words) in zip(sample.failed, fail.values(), strict=True):
        assert one.error.startswith(f"{kind}: ") and words in one.error and "\n" not in one.error
    np.testing.assert_array_equal(sample.embedded[0].vectors, vectors(rows[:9]))
    assert messages[0] == "read 9 tiles of 1 slide(s) at 3 tiling(s)" and len(messages) == 9
    assert messages[1].startswith("1 of 8: no-such-network failed: UnknownExtractorError: ")
    assert messages[2].startswith("2 of 8: blocks, ") and messages[2].endswith(" tiles/s on cpu")


def test_if_none_is_left_each_says_why(scene: Scene, file: Path, tmp_path: Path):
    store, collection, rows = scene
    with pytest.raises(CandidatesError, match=r"none of the 2 candidate\(s\) could be run: nothing: Unk.*; blocks: Ru"):
        embed(store, collection, rows, [ExtractorConfig(ref="nothing"), toy(file, "OutOfMemory")], scratch=tmp_path)
    with pytest.raises(CandidatesError, match="could be run: nothing"):
        embed(store, collection, rows, [ExtractorConfig(ref="nothing")], scratch=tmp_path / "not-there")
    with pytest.raises(CandidatesError, match="no candidate was given"):
        embed(store, collection, rows, [], scratch=tmp_path)


def test_what_stops_the_run_before_any_work(scene: Scene, file: Path, tmp_path: Path, monkeypatch):
    store, collection, rows = scene
    with pytest.raises(DeviceError, match="expected auto, cpu, cuda"):
        embed(store, collection, rows, [toy(file, "Blocks")], device="tpu", scratch=tmp_path)
    with pytest.raises(ConfigError, match="tile_px is 9; expected 16 to 8192"):
        embed(store, collection, rows, [toy(file, "Blocks")], tile_px=9, scratch=tmp_path)
    monkeypatch.setattr(sample_pixels.shutil, "disk_usage", lambda path: SimpleNamespace(free=10))
    with pytest.raises(ConfigError, match=r"take 0\.0 GB, and .* set TMPDIR to a folder with more room"):
        embed(store, collection, rows, [toy(file, "Blocks")], scratch=tmp_path)
    assert not list(tmp_path.iterdir())


# -- names ----------------------------------------------------------------------------------


def names(embedded: tuple[CandidateEmbeddings, ...]) -> list[str]:
    return [one.name for one in embedded]


def test_the_same_candidate_twice_is_told_apart(scene: Scene, file: Path, tmp_path: Path):
    store, collection, rows = scene
    twice = [toy(file, "Blocks"), toy(file, "Blocks")]
    sample = embed(store, collection, rows[:3], twice, scratch=tmp_path)
    assert names(sample.embedded) == ["blocks", "blocks-2"]
    assert sample.notes == ("blocks and blocks-2 are the same extractor, by their digest",)
