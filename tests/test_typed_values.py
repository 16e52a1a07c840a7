"""Values of settings in Python: what stands for what, and what does not."""

from pathlib import Path

import numpy as np
import pytest

from embedstore.config import ReadingConfig, TilingConfig, TissueConfig
from embedstore.errors import ConfigError
from embedstore.extractors import ExtractorConfig
from embedstore.search_config import SearchConfig
from heads.config import AugmentConfig, FitConfig, SplitConfig


def test_what_stands_for_a_value_becomes_one():
    config = TilingConfig(tile_px=np.int64(64), mpp=1)
    assert (type(config.tile_px), type(config.mpp)) == (int, float) and config == TilingConfig(tile_px=64, mpp=1.0)
    assert SplitConfig(kind="file", file=Path("split.csv")).file == "split.csv"
    assert FitConfig(c=[np.float32(1), 2], classes=["a", "b"]).c == (1.0, 2.0)
    assert ExtractorConfig(ref="a", mean=np.full(3, 0.5)).mean == (0.5, 0.5, 0.5)
    assert FitConfig(augment=[AugmentConfig(noise=1), "search"]).augment == (AugmentConfig(noise=1.0), "search")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TilingConfig(tile_px="256"), "TilingConfig: tile_px is '256'; expected a whole number"),
        (lambda: TilingConfig(tile_px=256.0), "tile_px is 256.0; expected a whole number"),
        (lambda: TilingConfig(tile_px=np.arange(2)), r"tile_px is array\(\[0, 1\]\); expected a whole number"),
        (lambda: TilingConfig(min_tissue=True), "min_tissue is True; expected a number"),
        (lambda: TilingConfig(mpp=float("nan")), "mpp is nan; expected a number"),
        (lambda: TissueConfig(exclude_pen="no"), "exclude_pen is 'no'; expected true or false"),
        (lambda: TissueConfig(max_hole_um2=float("inf")), "max_hole_um2 is inf; expected a number"),
        (lambda: ReadingConfig(reader="tif"), "reader is 'tif'; expected one of auto, tiff"),
        (lambda: FitConfig(classes="ab"), "classes is 'ab'; expected a list, each a string"),
        (lambda: FitConfig(split={"folds": 3}), "split is {'folds': 3}; expected SplitConfig"),
        (lambda: ExtractorConfig(ref=1), "ref is 1; expected a string"),
        (lambda: ExtractorConfig(ref="a", mean=0.5), "mean is 0.5; expected a list, each a number"),
        (lambda: ExtractorConfig(ref="a", arch_args={"act": print}), "arch_args is .*; expected a table of strings"),
        (lambda: SearchConfig(k=None), "k is None; expected a whole number"),
        (lambda: SearchConfig(where="a" * 999 + "\0"), "where is 'a{79}…; expected a string without NUL"),
    ],
)
def test_values_of_other_types_are_refused(make, message: str):
    with pytest.raises(ConfigError, match=message):
        make()
