"""fp16 on CUDA, on the CPU: what overflows is computed again in fp32, and a collection keeps its precision."""

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from actors.ingest import _with_stored_precision
from actors.request import Target, TilingGroup
from embedstore.config import TilingConfig
from embedstore.extractors import BatchStream, CustomNetwork, ExtractorConfig
from embedstore.extractors.config import DEFAULT_PRECISION, with_precision_of
from embedstore.extractors.networks.network import NetworkExtractor, _fits_half
from embedstore.extractors.spec import ExtractorSpec
from embedstore.search.queries.image_query import _StoredExtractor
from embedstore.store import Collection, CollectionRecord, Store


class Overflowing(nn.Module):
    """The mean of each colour, by way of values that fp16 does not hold where it is above 0.55."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((3,), 60000.0))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean(dim=(2, 3)) * 2 * self.weight / self.weight


@pytest.fixture
def half() -> NetworkExtractor:
    """An extractor that computes in fp16, as on CUDA."""
    spec = ExtractorSpec(name="half", kind="timm", source="here", arch="none", tile_px=16)
    extractor = NetworkExtractor(spec, Overflowing(), device=torch.device("cpu"))
    extractor._network.half()
    extractor._dtype = torch.float16
    return extractor


def grey(*values: int) -> np.ndarray:
    return np.repeat(np.uint8(values), 16 * 16 * 3).reshape(-1, 16, 16, 3)


def test_only_what_overflows_is_computed_again(half, caplog):
    tiles = grey(10, 250, 100, 240)
    with torch.inference_mode():
        plain = half.forward(torch.from_numpy(tiles))
    assert np.isfinite(plain.numpy()).all(axis=1).tolist() == [True, False, True, False]
    stream = BatchStream(half, 3)
    with caplog.at_level(logging.WARNING):
        rows = np.concatenate([stream.push(tiles), stream.flush()])
    np.testing.assert_allclose(rows[:, 0], np.array([10, 250, 100, 240]) / 127.5, rtol=2e-3)
    assert caplog.text.count("half: embeddings of some tiles overflow fp16") == 1
    assert (rows[[0, 2]] == plain.numpy()[[0, 2]]).all()


def test_nothing_is_computed_again_where_all_is_finite(half):
    half.embed(grey(10, 100))
    assert not half._overflowed and "_wide_network" not in vars(half)


def test_a_weight_beyond_fp16_is_no_network_for_fp16():
    network = nn.Linear(2, 2)
    assert _fits_half(network)
    network.weight.data[0, 0] = 1e5
    assert not _fits_half(network)


def test_fp16_is_the_default_and_can_be_replaced():
    spec = ExtractorSpec(name="a", kind="timm", source="here", arch="none", tile_px=16)
    assert spec.precision == CustomNetwork(module=nn.Identity()).precision == DEFAULT_PRECISION == "fp16"
    assert spec.with_overrides(ExtractorConfig(ref="a", precision="fp32")).precision == "fp32"


@pytest.mark.parametrize(
    ("asked", "made_with", "taken"),
    [(None, "fp32", "fp32"), (None, None, None), ("bf16", "fp32", "bf16"), (None, "bf16", "bf16")],
)
def test_a_collection_keeps_the_precision_that_it_was_made_with(tmp_path: Path, caplog, asked, made_with, taken):
    config = ExtractorConfig(ref="resnet18", weights="random", precision=asked)
    details = {} if made_with is None else {"precision": made_with}
    assert with_precision_of(config, details).precision == taken
    store = Store.create(tmp_path)
    record = CollectionRecord.from_record(
        {
            "extractor": {"name": "a", "dim": 4, "digest": "sha256:0", **details},
            "request": {"extractor": {"ref": "resnet18", "weights": "random", "precision": asked}},
        }
    )
    Collection.create(store.uri, "there", record)
    targets = Target(extractor=config, collection="there"), Target(extractor=config, collection="new")
    group = _with_stored_precision(store, TilingGroup(tiling=TilingConfig(), targets=targets))
    assert [target.extractor.precision for target in group.targets] == [taken, asked]
    assert ("made with precision fp32; the slides of this run are embedded in bf16" in caplog.text) == (asked == "bf16")
    stored = _StoredExtractor.from_record(store.collection("there").record())
    assert stored.config is not None and stored.config.precision == taken
