"""Threads of torch: what is computed on several is what one computes, and they wait without taking a core."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from embedstore.extractors import load_extractor
from embedstore.extractors.builtin.stain_texture import TileThreads
from tests.extractors.contract import tiles


@pytest.fixture
def three_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def test_an_embedding_has_the_same_bits_on_any_number_of_threads(three_threads):
    extractor = load_extractor("stain-texture", device="cpu")
    pixels = tiles(7, extractor.tile_px)
    on_three = extractor.embed(pixels)
    torch.set_num_threads(1)
    np.testing.assert_array_equal(on_three, extractor.embed(pixels))


def test_parts_are_shared_among_threads_of_one_each_and_answered_in_order(three_threads):
    together, seen = threading.Barrier(3, timeout=60), set()

    def work(part: torch.Tensor) -> torch.Tensor:
        seen.add((threading.current_thread().name, torch.get_num_threads()))
        together.wait()
        return part + 1

    answers = TileThreads().map(work, torch.arange(6).split(1))
    assert torch.cat(answers).tolist() == [1, 2, 3, 4, 5, 6]
    assert len(seen) == 3 and {threads for _, threads in seen} == {1}
    assert torch.get_num_threads() == 3


def test_an_error_comes_out_and_leaves_the_number_of_threads(three_threads):
    def work(part: torch.Tensor) -> torch.Tensor:
        raise ValueError(f"part {int(part)}")

    with pytest.raises(ValueError, match="part 0"):
        TileThreads().map(work, torch.arange(2).split(1))
    assert torch.get_num_threads() == 3


@pytest.mark.parametrize(("own", "there"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_threads_wait_without_a_core_unless_the_user_says_otherwise(own: str | None, there: str):
    program = "import os, sys, embedstore.extractors; print(os.environ['OMP_WAIT_POLICY'], 'torch' in sys.modules)"
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    environment |= {"OMP_WAIT_POLICY": own} if own else {}
    said = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert said.stdout.split() == [there, "False"]
