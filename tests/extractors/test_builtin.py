"""`stain-texture` and `colour-12`."""

import json
from pathlib import Path

import numpy as np
import pytest

from embedstore.errors import ConfigError
from embedstore.extractors import ExtractorConfig, load_extractor
from tests.extractors.contract import ExtractorContract, tiles

GOLDEN = Path(__file__).parent / "golden_stain_texture.json"
# Of embeddings of about unit length, in float16; torch versions and processors sum in other orders.
GOLDEN_TOLERANCE = 0.002


class TestStainTexture(ExtractorContract):
    config = ExtractorConfig(ref="stain-texture", tile_px=128)

    def test_golden_values(self, extractor):
        """Made anew by `python -m tests.extractors.test_builtin`; a change raises VERSION of stain_texture.py."""
        golden = np.array(json.loads(GOLDEN.read_text()), np.float32)
        np.testing.assert_allclose(golden_rows(), golden, atol=GOLDEN_TOLERANCE)

    def test_turning_a_tile_changes_little(self, extractor, pixels, rows):
        turned = extractor.embed(np.ascontiguousarray(np.rot90(pixels, axes=(1, 2))))
        away = np.linalg.norm(turned.astype(np.float32) - rows, axis=1)
        between = np.linalg.norm(rows[0].astype(np.float32) - rows[1:], axis=1)
        assert away.max() < 0.1 * between.min()

    def test_resolution_decides_the_averaging_and_is_in_the_digest(self, extractor):
        finer = load_extractor(ExtractorConfig(ref="stain-texture", tile_px=128, mpp=0.25))
        assert (extractor.shrink, finer.shrink) == (2, 4)
        assert finer.digest != extractor.digest

    def test_tiles_too_small_to_have_texture(self):
        with pytest.raises(ConfigError, match="cut larger tiles"):
            load_extractor(ExtractorConfig(ref="stain-texture", tile_px=48))

    def test_more_nuclei_lie_closer_to_more_nuclei(self, extractor):
        """A sanity check of meaning: neighbours of a crowded tile are crowded."""
        rng = np.random.default_rng(3)

        def tissue(nuclei: int) -> np.ndarray:
            tile = np.full((128, 128, 3), (225, 165, 200), np.float64) + rng.normal(0, 6, (128, 128, 3))
            rows, columns = np.mgrid[:128, :128]
            for row, column in rng.integers(0, 128, (nuclei, 2)):
                tile[(rows - row) ** 2 + (columns - column) ** 2 < 36] = (85, 60, 140)
            return np.clip(tile, 0, 255).astype(np.uint8)

        embedded = extractor.embed(np.stack([tissue(n) for n in (8, 9, 10, 60, 65, 70)])).astype(np.float32)
        unit = embedded / np.linalg.norm(embedded, axis=1, keepdims=True)
        similarity = unit @ unit.T - 2 * np.eye(6)
        assert [int(row.argmax()) // 3 for row in similarity] == [0, 0, 0, 1, 1, 1]


class TestColourStatistics(ExtractorContract):
    config = ExtractorConfig(ref="colour-12", tile_px=64)

    def test_device_that_is_not_there(self):
        """It has no use for a GPU, nor for torch: it says that it runs on the CPU."""
        assert load_extractor(self.config, device="cuda").device == "cpu"

    def test_values_are_means_and_deviations(self, extractor, pixels, rows):
        levels = pixels.astype(np.float64) / 255
        red, green, blue = np.moveaxis(levels, -1, 0)
        planes = [red, green, blue, abs(red - green), abs(red - blue), abs(green - blue)]
        expected = np.stack([moment for p in planes for moment in (p.mean((1, 2)), p.std((1, 2)))], axis=1)
        np.testing.assert_allclose(rows, expected, atol=1e-3)


@pytest.mark.parametrize("override", [{"mean": (0.5, 0.5, 0.5)}, {"weights": "random"}, {"precision": "fp16"}])
def test_builtins_refuse_what_they_do_not_have(override):
    with pytest.raises(ConfigError, match="leave it out"):
        load_extractor(ExtractorConfig(ref="stain-texture", **override))


def golden_rows() -> np.ndarray:
    extractor = load_extractor(TestStainTexture.config, device="cpu")
    return extractor.embed(tiles(3, 128, seed=7)).astype(np.float32)


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps([[round(float(value), 4) for value in row] for row in golden_rows()]) + "\n")
