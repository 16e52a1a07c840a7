"""The catalogue's facts are well-formed, and every architecture has the size that is stated."""

import subprocess
import sys

import pytest
import torch

from embedstore.extractors import ExtractorConfig, catalogue, describe_extractor
from embedstore.extractors.config import POOLINGS, PRECISIONS
from embedstore.extractors.networks.architecture import create_network
from embedstore.extractors.networks.network import pool
from tests.marks import slow

ENTRIES = catalogue()
NETWORKS = [name for name, entry in ENTRIES.items() if entry.kind == "timm"]
#: One of a family; the others take as long again, and giants more.
FAST = ("uni", "kaiko-vits16", "lunit-bt-resnet50", "ctranspath", "resnet18-imagenet", "hibou-b")
ASKED_FOR = """
    uni uni2-h virchow virchow2 prov-gigapath h-optimus-0 h-optimus-1 h0-mini phikon phikon-v2 kaiko-vits16 kaiko-vits8
    kaiko-vitb16 kaiko-vitb8 kaiko-vitl14 midnight-12k hibou-b hibou-l lunit-dino-s16 lunit-dino-s8 lunit-bt-resnet50
    lunit-swav-resnet50 lunit-mocov2-resnet50 ctranspath dinov2-s dinov2-b dinov2-l dinov2-g resnet50-imagenet
    resnet18-imagenet stain-texture colour-12
"""


def test_what_the_field_uses_is_there():
    assert set(ASKED_FOR.split()) <= ENTRIES.keys()


@pytest.mark.parametrize("name", ENTRIES)
def test_facts_are_well_formed(name):
    entry = ENTRIES[name]
    assert entry.name == name == name.lower()
    assert entry.pooling in POOLINGS
    assert entry.precision in PRECISIONS
    assert 16 <= entry.tile_px <= 1024
    assert entry.mpp is None or 0.1 <= entry.mpp <= 4
    assert entry.gated in (True, False, None)
    assert entry.licence
    if entry.kind == "timm":
        assert entry.url.startswith("https://")
        assert entry.hub_id is None or entry.hub_id.count("/") == 1
        assert entry.hub_id or "--weights" in entry.note
    if entry.input_px is not None:
        assert entry.input_px <= entry.tile_px  # tiles may shrink on the device; enlarging would invent detail
    assert describe_extractor(ExtractorConfig(ref=name)) == (name, entry.tile_px, entry.mpp)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name if name in FAST else slow(name) for name in NETWORKS])
def test_random_network_has_the_stated_size(name):
    """On torch's `meta` device, where the giants cost no memory: shapes are computed, values are not."""
    entry = ENTRIES[name]
    with torch.device("meta"), torch.inference_mode():
        network = create_network(entry.arch, entry.arch_args, pooling=entry.pooling).eval()
        images = torch.empty(2, 3, *[entry.input_px or entry.tile_px] * 2)
        output = network(images)
        rows = pool(output, entry.pooling, prefix_tokens=getattr(network, "num_prefix_tokens", 0))
    assert rows.shape == (2, entry.embedding_dim)
    if entry.million_params is not None:
        params = sum(parameter.numel() for parameter in network.parameters()) / 1e6
        assert params == pytest.approx(entry.million_params, rel=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["kaiko-vits16", "lunit-bt-resnet50", "ctranspath", "hibou-b"])
def test_random_network_embeds(name):
    """The same with values, for one of each family that fits a small machine."""
    import numpy as np

    from embedstore.extractors import load_extractor

    extractor = load_extractor(ExtractorConfig(ref=name, weights="random"), device="cpu")
    pixels = np.zeros((1, extractor.tile_px, extractor.tile_px, 3), np.uint8)
    assert extractor.embed(pixels).shape == (1, ENTRIES[name].embedding_dim)


def test_catalogue_does_without_torch():
    code = (
        "import sys; from embedstore.extractors import catalogue, describe_extractor\n"
        "describe_extractor('uni'); describe_extractor('stain-texture'); catalogue()\n"
        "print(sorted({'torch', 'timm', 'torchvision', 'ray', 'jax'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
