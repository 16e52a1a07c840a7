"""A user's own extractor."""

import os
import sys
import textwrap

import numpy as np
import pytest

from embedstore.errors import ConfigError, ExtractorError, UnknownExtractorError
from embedstore.extractors import ExtractorConfig, custom, describe_extractor, load_extractor
from tests.extractors.contract import tiles

MINE = """
    import numpy as np
    import torch
    from torch import nn

    from embedstore.extractors import CustomNetwork, Extractor

    def bare(width=4):
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(3, width, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())

    def described():
        return CustomNetwork(module=bare(), name="mine", tile_px=32, mpp=0.25, mean=(0.5,) * 3, std=(0.5,) * 3)

    def worded(text=True):
        torch.manual_seed(1)
        words = nn.Embedding(8, 4)

        def embed_text(texts):
            return words(torch.tensor([len(text) % 8 for text in texts]))

        return CustomNetwork(
            module=bare(), tile_px=32, mpp=0.5, embed_text=embed_text, text_module=words if text else None,
            logit_scale=50,
        )

    def tokens():
        return nn.Conv2d(3, 4, 3)

    def number():
        return 3

    class Whole(Extractor):
        name, dim, tile_px, mpp, digest = "whole", 3, 32, None, "sha256:" + "0" * 64

        def embed(self, pixels):
            self.check_pixels(pixels)
            return pixels.mean(axis=(1, 2)).astype(np.float16)

    def broken():
        raise TypeError("from inside")

    value = 3
"""


@pytest.fixture
def mine(tmp_path, monkeypatch) -> str:
    (tmp_path / "my_extractors.py").write_text(textwrap.dedent(MINE))
    monkeypatch.syspath_prepend(str(tmp_path))
    return "my_extractors"


def test_a_module_takes_its_preprocessing_from_the_configuration(mine):
    config = ExtractorConfig(ref=f"{mine}:bare", tile_px=24, mpp=0.5, arch_args={"width": 6})
    extractor = load_extractor(config)
    assert (extractor.name, extractor.dim, extractor.tile_px, extractor.mpp) == ("bare", 6, 24, 0.5)
    assert describe_extractor(config) == ("bare", 24, 0.5)
    with pytest.raises(ConfigError, match="give tile_px"):
        load_extractor(f"{mine}:bare")


def test_a_described_network_and_what_differs(mine):
    extractor = load_extractor(f"{mine}:described")
    assert (extractor.name, extractor.tile_px, extractor.mpp) == ("mine", 32, 0.25)
    other = load_extractor(ExtractorConfig(ref=f"{mine}:described", mean=(0.4, 0.4, 0.4)))
    assert other.digest != extractor.digest
    assert extractor.embed(tiles(2, 32)).shape == (2, 4)


def test_a_whole_extractor(mine):
    extractor = load_extractor(f"{mine}:Whole")
    assert extractor.embed(tiles(2, 32)).dtype == np.float16
    with pytest.raises(ConfigError, match="cannot change; leave out tile_px"):
        load_extractor(ExtractorConfig(ref=f"{mine}:Whole", tile_px=64))


def test_a_file_is_named_by_its_path(mine, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = ExtractorConfig(ref="my_extractors.py:described")
    assert config.ref.startswith("/")  # workers start elsewhere
    assert load_extractor(config).digest == load_extractor(ExtractorConfig(ref="my_extractors.py:described")).digest


def test_a_file_is_read_as_it_is_now(tmp_path, monkeypatch):
    """Edited within a second, to as many bytes, it would come from Python's cache of bytecode."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    path = tmp_path / "edited.py"
    for width in (4, 6):
        path.write_text(textwrap.dedent(MINE).replace("width=4", f"width={width}"))
        os.utime(path, (1e9, 1e9))
        assert load_extractor(ExtractorConfig(ref=f"{path}:described")).dim == width
    assert list(tmp_path.iterdir()) == [path]


def test_an_entry_point(mine, monkeypatch):
    from importlib.metadata import EntryPoint

    point = EntryPoint(name="my-network", value=f"{mine}:described", group=custom.ENTRY_POINT_GROUP)
    monkeypatch.setattr(custom, "entry_points", lambda: {"my-network": point})
    assert load_extractor("my-network").dim == 4


@pytest.mark.parametrize(
    ("function", "error", "said"),
    [
        ("nothing", UnknownExtractorError, "has no 'nothing'"),
        ("value", UnknownExtractorError, "expected a function"),
        ("number", ExtractorError, "returned a int"),
        ("broken", TypeError, "from inside"),
    ],
)
def test_functions_that_are_not_extractors(mine, function, error, said):
    with pytest.raises(error, match=said):
        load_extractor(ExtractorConfig(ref=f"{mine}:{function}", tile_px=32))


def test_output_that_is_no_vector(mine):
    with pytest.raises(ExtractorError, match=r"expected \(n, dim\)"):
        load_extractor(ExtractorConfig(ref=f"{mine}:tokens", tile_px=32))


def test_arguments_that_a_function_does_not_take(mine):
    with pytest.raises(ConfigError, match="depth"):
        load_extractor(ExtractorConfig(ref=f"{mine}:bare", tile_px=32, arch_args={"depth": 2}))


def test_modules_and_files_that_are_not_there():
    with pytest.raises(UnknownExtractorError, match="PYTHONPATH"):
        load_extractor("no_such_module_at_all:function")
    with pytest.raises(UnknownExtractorError, match="no file"):
        load_extractor("no/such/file.py:function")


def test_a_network_with_a_text_tower(mine):
    extractor = load_extractor(f"{mine}:worded")
    tower = extractor.text_tower
    assert tower.embed_text(["red", "blue"]).shape == (2, 4) and tower.embed_text(["red"]).dtype == np.float32
    assert extractor.record()["text"] == {"digest": tower.digest, "logit_scale": 50.0, "context_tokens": None}
    with pytest.raises(ExtractorError, match="embed_text and no text_module"):
        load_extractor(ExtractorConfig(ref=f"{mine}:worded", arch_args={"text": False}))
