"""Networks: loading, weights, preprocessing, pooling, precision."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from embedstore.errors import ConfigError, ExtractorError, UnknownExtractorError, WeightsError
from embedstore.extractors import ExtractorConfig, embedding_dim, load_extractor
from embedstore.extractors.networks.architecture import create_network
from tests.extractors.contract import ExtractorContract, tiles

SMALL_VIT = {"img_size": 32, "patch_size": 8, "embed_dim": 48, "depth": 2, "num_heads": 3}
SMALL_RESNET = {"channels": [16, 24, 32, 40]}


def small_vit(**changes) -> ExtractorConfig:
    facts = {"ref": "vit_tiny_patch16_224", "weights": "random:1", "arch_args": SMALL_VIT, **changes}
    return ExtractorConfig(**facts)


class TestConvolutional(ExtractorContract):
    config = ExtractorConfig(ref="timm:resnet10t", weights="random:0", arch_args=SMALL_RESNET, tile_px=48, mpp=0.5)


class TestTransformer(ExtractorContract):
    config = small_vit(pooling="cls+mean", mpp=1.0)


class TestResized(ExtractorContract):
    config = small_vit(tile_px=40)


@pytest.fixture
def weights(tmp_path) -> Path:
    torch.manual_seed(5)
    network = create_network("resnet10t", {"num_classes": 7, **SMALL_RESNET}, pooling="network")
    file = tmp_path / "weights.safetensors"
    save_file(network.state_dict(), file)
    return file


def from_file(file: Path, **changes) -> ExtractorConfig:
    facts = {"ref": "resnet10t", "weights": str(file), "tile_px": 48, "arch_args": SMALL_RESNET, **changes}
    return ExtractorConfig(**facts)


def test_weights_of_a_file_without_its_classifier(weights):
    extractor = load_extractor(from_file(weights))
    assert extractor.dim == 40
    assert extractor.record()["source"] == "file:weights.safetensors"


def test_torch_files_are_the_same_as_safetensors(weights, tmp_path):
    from safetensors.torch import load_file

    bare = load_extractor(from_file(weights)).digest
    state = {f"module.{name}": tensor for name, tensor in load_file(weights).items()}
    for number, content in enumerate((state, {"state_dict": state, "epoch": 3})):
        file = tmp_path / f"{number}.pt"
        torch.save(content, file)
        assert load_extractor(from_file(file)).digest == bare


def test_digest_tells_weights_and_preprocessing_apart_and_nothing_else(weights, tmp_path):
    from safetensors.torch import load_file

    extractor = load_extractor(from_file(weights))
    state = load_file(weights)
    state["bn1.running_mean"][0] += 1e-6  # a buffer, by little
    other = tmp_path / "other.safetensors"
    save_file(state, other)
    digests = {
        load_extractor(config).digest
        for config in (
            from_file(weights, name="anything", mpp=0.25),
            from_file(other),
            from_file(weights, mean=(0.5, 0.5, 0.5)),
            from_file(weights, std=(0.5, 0.5, 0.5)),
            from_file(weights, input_px=64),
            from_file(weights, arch_args={**SMALL_RESNET, "act_layer": "silu"}),
        )
    }
    assert len(digests) == 6
    assert extractor.digest in digests


def test_weights_that_do_not_fit_are_listed(weights, tmp_path):
    from safetensors.torch import load_file

    state = load_file(weights)
    state["layer9.weight"] = state.pop("layer1.0.conv1.weight")
    state["bn1.weight"] = torch.ones(3)
    file = tmp_path / "wrong.safetensors"
    save_file(state, file)
    with pytest.raises(WeightsError) as raised:
        load_extractor(from_file(file))
    message = str(raised.value)
    assert "1 missing: layer1.0.conv1.weight" in message
    assert "1 unexpected: layer9.weight" in message
    assert "bn1.weight (3,) for " in message


def test_weights_of_another_architecture(weights):
    with pytest.raises(WeightsError, match=r"do not fit .* missing"):
        load_extractor(ExtractorConfig(ref="mobilenetv3_small_050", weights=str(weights)))


@pytest.mark.slow
def test_ctranspath_takes_its_published_layout(tmp_path):
    """An old Swin: patches merge at the end of a stage, buffers are in the file, all of it under `model`."""
    import re

    network = create_network("swin_tiny_patch4_window7_224", {"embed_layer": "ConvStem"}, pooling="network")
    state = {
        re.sub(r"layers\.(\d)\.downsample", lambda match: f"layers.{int(match[1]) - 1}.downsample", name): tensor
        for name, tensor in network.state_dict().items()
    }
    state |= {"layers.0.blocks.1.attn_mask": torch.zeros(1), "head.weight": torch.zeros(2, 768)}
    file = tmp_path / "ctranspath.pth"
    torch.save({"model": state}, file)
    extractor = load_extractor(ExtractorConfig(ref="ctranspath", weights=str(file)), device="cpu")
    assert (extractor.dim, extractor.record()["source"]) == (768, "file:ctranspath.pth")


def test_weights_that_are_not_there_or_no_weights(tmp_path):
    with pytest.raises(WeightsError, match="there is no weights file"):
        load_extractor(from_file(tmp_path / "none.pt"))
    code = tmp_path / "code.pt"
    torch.save({"state_dict": Path("anything")}, code)
    with pytest.raises(WeightsError, match=r"Python objects besides tensors \(pathlib\.\w+\).*save_file$"):
        load_extractor(from_file(code))
    numbers = tmp_path / "numbers.pt"
    torch.save({"epoch": 3}, numbers)
    with pytest.raises(WeightsError, match="no state dict"):
        load_extractor(from_file(numbers))


@pytest.mark.parametrize(
    ("ref", "said"),
    [
        ("resnet18", ("timm/resnet18.a1_in1k", "model.safetensors", "HF_HUB_OFFLINE", "--weights FILE")),
        ("uni2-h", ("MahmoodLab/UNI2-h", "pytorch_model.bin", "gated", "--weights FILE")),
        ("ctranspath", ("no weights on the hub", "--weights FILE")),
    ],
)
def test_offline_it_says_which_file_to_bring(ref, said, monkeypatch, tmp_path):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(WeightsError) as raised:
        load_extractor(ref)
    for part in said:
        assert part in str(raised.value)


def test_gated_and_unreachable_hub_say_what_to_do(monkeypatch, tmp_path):
    import huggingface_hub
    from huggingface_hub import constants, errors

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))

    def refuse(*_):
        raise errors.GatedRepoError.__new__(errors.GatedRepoError)

    def silent(*_):
        raise ConnectionError("no route to host")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", refuse)
    with pytest.raises(WeightsError, match=r"accept their licence at https://huggingface.co/MahmoodLab/UNI"):
        load_extractor("uni")
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", silent)
    with pytest.raises(WeightsError, match=r"no route to host.*--weights FILE"):
        load_extractor("uni")


def test_weights_in_the_hub_cache_need_no_network(weights, monkeypatch):
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_: str(weights))
    assert load_extractor(ExtractorConfig(ref="resnet10t", arch_args=SMALL_RESNET, tile_px=48)).dim == 40


def test_random_weights_follow_their_seed_and_disturb_nothing():
    torch.manual_seed(9)
    expected = torch.rand(1)
    torch.manual_seed(9)
    digests = [load_extractor(small_vit(weights=seed)).digest for seed in ("random", "random:0", "random:1")]
    assert torch.rand(1) == expected
    assert digests[0] == digests[1] != digests[2]
    assert load_extractor(small_vit()).record()["source"] == "random weights, seed 1"


def test_pooling_of_tokens():
    pixels = tiles(3, 32)
    rows = {how: load_extractor(small_vit(pooling=how)).embed(pixels) for how in ("cls", "mean", "cls+mean")}
    np.testing.assert_allclose(np.hstack([rows["cls"], rows["mean"]]), rows["cls+mean"], atol=2e-3)
    registers = load_extractor(small_vit(pooling="mean", arch_args={**SMALL_VIT, "reg_tokens": 4}))
    network = create_network("vit_tiny_patch16_224", {**SMALL_VIT, "reg_tokens": 4}, pooling="mean")
    assert registers.dim == 48
    assert network.num_prefix_tokens == 5


def test_pooling_that_a_network_cannot_do():
    with pytest.raises(ExtractorError, match="pooling 'network'"):
        load_extractor(ExtractorConfig(ref="resnet10t", weights="random", arch_args=SMALL_RESNET, pooling="cls"))


def test_normalisation_is_that_of_the_mean_and_std():
    """A linear network shows what it is given."""
    from embedstore.extractors.networks.network import NetworkExtractor
    from embedstore.extractors.spec import ExtractorSpec

    spec = ExtractorSpec(
        name="x", kind="custom", source="x", arch="x", tile_px=16, mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 0.125)
    )
    network = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    pixels = tiles(2, 16)
    expected = (pixels.mean(axis=(1, 2)) / 255 - spec.mean) / spec.std
    rows = NetworkExtractor(spec, network, device=torch.device("cpu")).embed(pixels)
    np.testing.assert_allclose(rows, expected, rtol=2e-3)


def test_embeddings_beyond_float16_are_an_error():
    from embedstore.extractors.networks.network import NetworkExtractor
    from embedstore.extractors.spec import ExtractorSpec

    spec = ExtractorSpec(name="x", kind="custom", source="x", arch="x", tile_px=16, std=(1e-5, 1e-5, 1e-5))
    network = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    with pytest.raises(ExtractorError, match="1 of 1 embeddings"):
        NetworkExtractor(spec, network, device=torch.device("cpu")).embed(tiles(1, 16))


def test_names_that_nothing_has():
    with pytest.raises(UnknownExtractorError, match="did you mean uni2-h"):
        load_extractor("uni2h")
    with pytest.raises(UnknownExtractorError, match="tag"):
        load_extractor("resnet18.no_such_weights")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"ref": " "}, "ref is empty"),
        ({"tile_px": 8}, "tile_px"),
        ({"mpp": 0.0}, "mpp"),
        ({"pooling": "max"}, "pooling"),
        ({"precision": "int8"}, "precision"),
        ({"mean": (120.0, 120.0, 120.0)}, "divide those for 0..255 by 255"),
        ({"mean": (0.5, 0.5)}, "expected three"),
        ({"std": (0.0, 0.5, 0.5)}, "above 0"),
    ],
)
def test_configurations_that_cannot_be(changes, said):
    with pytest.raises(ConfigError, match=said):
        ExtractorConfig(**{"ref": "resnet18", **changes})


def test_arguments_that_an_architecture_does_not_take():
    with pytest.raises(ConfigError, match="no_such_thing"):
        load_extractor(ExtractorConfig(ref="resnet10t", weights="random", arch_args={"no_such_thing": 1}))


@pytest.mark.slow
@pytest.mark.parametrize(
    "config",
    [
        small_vit(pooling="cls+mean"),
        small_vit(),
        ExtractorConfig(ref="resnet10t", weights="random:0", tile_px=48),
        ExtractorConfig(ref="lunit-dino-s16", weights="random:0", pooling="cls+mean"),
        ExtractorConfig(ref="colour-12"),
    ],
    ids=["two parts", "pooled", "convolutions", "catalogue, pooled otherwise", "built in"],
)
def test_the_length_of_a_vector_is_known_without_weights(config: ExtractorConfig, monkeypatch: pytest.MonkeyPatch):
    dim = load_extractor(config, device="cpu").dim
    monkeypatch.setattr("embedstore.extractors.networks.network.NetworkExtractor", None)
    assert embedding_dim(config) == dim


def test_a_length_that_only_loading_tells_is_not_guessed():
    assert embedding_dim("open_clip:ViT-B-32/openai") is None
    assert embedding_dim("tests.extractors.test_custom:network") is None
