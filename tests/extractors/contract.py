"""What every extractor promises; a test class of each inherits it."""

import itertools
import json
import pickle

import numpy as np
import pytest

from embedstore.errors import ConfigError, DeviceError, ExtractorError
from embedstore.extractors import BatchStream, Extractor, ExtractorConfig, describe_extractor, load_extractor


def tiles(number: int, edge_px: int, seed: int = 0) -> np.ndarray:
    """Blobs of dark purple on pink with grain; (number, edge_px, edge_px, 3) uint8."""
    rng = np.random.default_rng(seed)
    coarse = rng.random((number, edge_px // 8 + 1, edge_px // 8 + 1, 1))
    blobs = coarse.repeat(8, axis=1).repeat(8, axis=2)[:, :edge_px, :edge_px]
    colour = np.where(blobs > 0.7, [90, 60, 140], [225, 160, 195])
    return np.clip(colour + rng.normal(0, 12, (number, edge_px, edge_px, 3)), 0, 255).astype(np.uint8)


class ExtractorContract:
    """Inherit, and set `config`; `tolerance` is relative to the largest value of an embedding.

    On the CPU the tolerance between groupings is that of float16, 2⁻¹⁰: a network's kernels are chosen by the shape of
    the batch. Between groupings that went through `BatchStream`, where the shape is fixed, rows are equal to the bit.
    """

    config: ExtractorConfig
    tolerance = 2**-10

    @pytest.fixture(scope="class")
    @classmethod
    def extractor(cls) -> Extractor:
        return load_extractor(cls.config, device="cpu")

    @pytest.fixture(scope="class")
    @classmethod
    def pixels(cls, extractor: Extractor) -> np.ndarray:
        return tiles(7, extractor.tile_px)

    @pytest.fixture(scope="class")
    @classmethod
    def rows(cls, extractor: Extractor, pixels: np.ndarray) -> np.ndarray:
        return extractor.embed(pixels)

    def test_shape_and_type(self, extractor, rows):
        assert rows.shape == (7, extractor.dim)
        assert rows.dtype == np.float16
        assert np.isfinite(rows).all()

    def test_tiles_that_differ_have_embeddings_that_differ(self, rows):
        assert len(np.unique(rows, axis=0)) == 7

    def test_no_tiles(self, extractor):
        empty = np.empty((0, extractor.tile_px, extractor.tile_px, 3), np.uint8)
        assert extractor.embed(empty).shape == (0, extractor.dim)

    def test_same_in_same_out(self, extractor, pixels, rows):
        np.testing.assert_array_equal(extractor.embed(pixels), rows)

    def test_loaded_again_it_is_the_same(self, extractor, pixels, rows):
        again = load_extractor(pickle.loads(pickle.dumps(self.config)), device="cpu")
        assert again.digest == extractor.digest
        assert again.record() == extractor.record()
        np.testing.assert_array_equal(again.embed(pixels), rows)

    def test_pixels_are_left_alone_and_need_not_be_contiguous(self, extractor, pixels, rows):
        turned = np.ascontiguousarray(pixels[::-1])
        before = turned.copy()
        np.testing.assert_array_equal(extractor.embed(turned[::-1]), rows)
        np.testing.assert_array_equal(turned, before)

    @pytest.mark.parametrize("groups", [(7,), (1, 6), (3, 4), (1,) * 7])
    def test_grouping_does_not_matter(self, extractor, pixels, rows, groups):
        starts = np.cumsum((0, *groups))
        parts = [extractor.embed(pixels[a:b]) for a, b in itertools.pairwise(starts)]
        difference = np.abs(np.concatenate(parts).astype(np.float32) - rows.astype(np.float32))
        assert difference.max() <= self.tolerance * np.abs(rows).max()

    def test_streamed_grouping_does_not_matter_to_the_bit(self, extractor, pixels):
        streamed = []
        for groups in [(7,), (1, 6), (3, 4), (1,) * 7]:
            stream = BatchStream(extractor, batch_tiles=4)
            starts = np.cumsum((0, *groups))
            parts = [stream.push(pixels[a:b]) for a, b in itertools.pairwise(starts)]
            streamed.append(np.concatenate([*parts, stream.flush()]))
        for rows in streamed[1:]:
            np.testing.assert_array_equal(rows, streamed[0])

    def test_neighbours_in_a_batch_do_not_matter(self, extractor, pixels):
        """The same tile first among others, and last among blanks."""
        stream = BatchStream(extractor, batch_tiles=4)
        first = np.concatenate([stream.push(pixels[:4]), stream.flush()])[0]
        blanks = np.full((3, *pixels.shape[1:]), 255, np.uint8)
        last = np.concatenate([stream.push(np.concatenate([blanks, pixels[:1]])), stream.flush()])[3]
        difference = np.abs(first.astype(np.float32) - last.astype(np.float32)).max()
        assert difference <= self.tolerance * np.abs(first).max()

    def test_blank_and_black_tiles_are_finite(self, extractor, pixels):
        assert np.isfinite(extractor.embed(np.full_like(pixels[:1], 255))).all()
        assert np.isfinite(extractor.embed(np.zeros_like(pixels[:1]))).all()

    def test_record_is_json_and_names_the_extractor(self, extractor):
        record = json.loads(json.dumps(extractor.record()))
        for name in ("name", "dim", "tile_px", "mpp", "digest"):
            assert record[name] == getattr(extractor, name)
        assert {"source", "arch", "licence"} <= record.keys()

    def test_digest_form(self, extractor):
        algorithm, _, value = extractor.digest.partition(":")
        assert algorithm == "sha256"
        assert len(value) == 64

    def test_described_as_it_is_loaded(self, extractor):
        assert describe_extractor(self.config) == (extractor.name, extractor.tile_px, extractor.mpp)

    @pytest.mark.parametrize("wrong", ["edge", "type", "axes"])
    def test_wrong_pixels(self, extractor, pixels, wrong):
        given = {"edge": pixels[:, :-8], "type": pixels.astype(np.float32), "axes": pixels[0]}[wrong]
        with pytest.raises(ExtractorError, match="expected uint8"):
            extractor.embed(given)
        with pytest.raises(ExtractorError, match="expected uint8"):
            BatchStream(extractor, 4).push(given)

    def test_batch_of_nothing(self, extractor):
        with pytest.raises(ConfigError, match="batch_tiles"):
            BatchStream(extractor, 0)

    def test_device_that_is_not_there(self):
        import torch

        if torch.cuda.is_available():
            pytest.skip("this machine has a GPU")
        with pytest.raises(DeviceError, match="--device cpu"):
            load_extractor(self.config, device="cuda")
