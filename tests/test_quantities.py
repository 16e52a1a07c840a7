"""Sizes and times as people read them."""

import pytest

from embedstore.quantities import human_bytes, human_time


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.0359, "36 ms"), (0.0996, "100 ms"), (0.1, "0.1 s"), (12.34, "12.3 s"), (2700, "45 min"), (24_000, "6.7 h")],
)
def test_times(seconds: float, said: str):
    assert human_time(seconds) == said


@pytest.mark.parametrize(
    ("size", "said"),
    [(15, "15 B"), (15_552, "15.6 KB"), (999_600, "1000 KB"), (2.5e9, "2.5 GB"), (1.2e12, "1.2 TB"), (3e15, "3 PB")],
)
def test_sizes(size: float, said: str):
    assert human_bytes(size) == said
