"""Resizing to the extractor's size."""

import cv2
import numpy as np
import pytest

from embedstore.slides.resize import fit_square
from tests.slides.drawings import tissue_picture


@pytest.mark.parametrize("edge", [112, 126, 128, 130, 144, 180, 257])
def test_shrinking_is_area_filtering(edge):
    picture = tissue_picture(600, 600)[150 : 150 + edge, 150 : 150 + edge]
    area = cv2.resize(picture, (64, 64), interpolation=cv2.INTER_AREA).astype(int)
    difference = np.abs(fit_square(picture, 64) - area)
    assert difference.mean() <= 1.0
    linear = cv2.resize(picture, (64, 64), interpolation=cv2.INTER_LINEAR)
    assert edge in (128, 130) or np.abs(linear - area).mean() > 2 * difference.mean()


@pytest.mark.parametrize(("height", "width"), [(64, 64), (30, 40), (64, 128), (200, 90), (127, 129)])
def test_any_shape_becomes_a_square_and_fills_out(height, width):
    out = np.zeros((64, 64, 3), np.uint8)
    fitted = fit_square(np.full((height, width, 3), 77, np.uint8), 64, out=out)
    assert (fitted == 77).all()
    assert (out == 77).all()
