"""Which tiles a candidate is given, and its name among the others."""

from pathlib import Path

import pytest

from embedstore.config import TilingConfig
from embedstore.extractors import ExtractorConfig
from heads.select.candidates.candidate import Candidate, CandidateRequest, describe_candidates, error_line
from heads.select.candidates.embeddings import FailedCandidate

from .toy_extractors import toy, toys

STORED = TilingConfig(tile_px=200, mpp=0.7)


def described(*configs: ExtractorConfig, tile_px=None, mpp=None, ready_made=False) -> list[Candidate | FailedCandidate]:
    request = CandidateRequest(candidates=configs, tile_px=tile_px, mpp=mpp)
    return describe_candidates(request, STORED, ready_made=ready_made)


def named(*configs: ExtractorConfig) -> list[str]:
    return [one.name for one in described(*configs)]


@pytest.mark.parametrize(
    ("config", "how", "expected"),
    [
        (ExtractorConfig(ref="uni2-h"), {}, (256, 0.5)),
        (ExtractorConfig(ref="uni2-h"), {"tile_px": 96}, (96, 0.5)),
        (ExtractorConfig(ref="uni2-h"), {"mpp": 0.25}, (256, 0.25)),
        (ExtractorConfig(ref="uni2-h"), {"ready_made": True}, (200, 0.7)),
        (ExtractorConfig(ref="uni2-h", tile_px=224), {"ready_made": True}, (224, 0.7)),
        (ExtractorConfig(ref="uni2-h"), {"ready_made": True, "tile_px": 96, "mpp": 1.0}, (96, 1.0)),
        (ExtractorConfig(ref="resnet18"), {}, (224, 0.7)),  # timm does not say which resolution it was made for
    ],
)
def test_tiles_of_a_candidate(config, how, expected):
    (one,) = described(config, **how)
    assert isinstance(one, Candidate) and (one.tile_px, one.mpp) == expected
    assert one.config == config
    assert one.loaded.tile_px in (None, expected[0])


def test_an_extractor_that_takes_no_other_tiles_keeps_its_own(tmp_path: Path):
    (one,) = described(toy(toys(tmp_path), "Blocks"), ready_made=True)
    assert isinstance(one, Candidate) and one.tile_px == 64 and one.loaded == one.config


def test_one_that_does_not_say_which_tiles_it_takes_is_given_the_collections(tmp_path: Path):
    file = toys(tmp_path)
    (one,) = described(toy(file, "bare"))
    assert isinstance(one, Candidate) and (one.tile_px, one.mpp, one.loaded.tile_px) == (200, 0.7, 200)
    (one,) = described(toy(file, "bare"), tile_px=96)
    assert isinstance(one, Candidate) and (one.tile_px, one.mpp) == (96, 0.7)


def test_one_that_cannot_be_described_goes_by_what_was_written(tmp_path: Path):
    (one,) = described(toy(toys(tmp_path), "odd"))
    assert isinstance(one, FailedCandidate) and (one.name, one.error) == (
        "toys.py:odd",
        'KeyError: "a user\'s own mistake"',
    )
    (one,) = described(ExtractorConfig(ref="colour-12", pooling="cls"))
    assert isinstance(one, FailedCandidate) and one.error.startswith(
        "ConfigError: extractor 'colour-12' is built in and has"
    )


def test_names_are_told_apart_by_weights_then_tiles_then_numbers():
    resnet = "resnet18"
    assert named(ExtractorConfig(ref=resnet), ExtractorConfig(ref=resnet, weights="/w/a.pt")) == [resnet, "resnet18-a"]
    assert named(
        ExtractorConfig(ref=resnet, weights="/w/a.pt"),
        ExtractorConfig(ref=resnet, weights="/v/b.safetensors"),
        ExtractorConfig(ref=resnet, weights="random:3"),
    ) == ["resnet18-a", "resnet18-b", "resnet18-random-3"]
    assert named(
        ExtractorConfig(ref=resnet, tile_px=96), ExtractorConfig(ref=resnet), ExtractorConfig(ref=resnet, mpp=0.5)
    ) == ["resnet18-96px-0.7mpp", "resnet18-224px-0.7mpp", "resnet18-224px-0.5mpp"]
    assert named(*[ExtractorConfig(ref=resnet)] * 3) == [resnet, "resnet18-2", "resnet18-3"]
    assert named(*[ExtractorConfig(ref=resnet)] * 2, ExtractorConfig(ref=resnet, name="resnet18-2")) == [
        resnet, "resnet18-2", "resnet18-2-2",
    ]  # fmt: skip
    mine = [ExtractorConfig(ref=resnet, name="mine"), ExtractorConfig(ref="nothing", name="mine")]
    assert named(*mine, ExtractorConfig(ref="nothing")) == ["mine-224px-0.7mpp", "mine", "nothing"]


def test_a_reason_is_one_line():
    assert error_line(ValueError("a\n  b")) == "ValueError: a b"
    assert error_line(MemoryError()) == "MemoryError"
