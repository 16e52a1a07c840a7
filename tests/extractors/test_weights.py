"""Files of weights as training scripts, hubs and copies leave them."""

import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save, save_file
from torch import nn

from embedstore.errors import WeightsError
from embedstore.extractors.networks.weights import fit_weights
from embedstore.extractors.networks.weights_file import read_weights


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 8))


def below(prefix: str, seed: int = 0) -> dict[str, torch.Tensor]:
    return {prefix + name: tensor for name, tensor in network(seed).state_dict().items()}


HEAD = {"head.mlp.weight": torch.zeros(2, 2)}


def loaded(content: object, folder: Path) -> tuple[nn.Module, str]:
    torch.save(content, folder / "w.pth")
    target = network(seed=9)
    taken = fit_weights(target, read_weights(folder / "w.pth"), weights_format="exact", source="w.pth")
    return target, taken


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (below(""), ""),
        (below("module."), ""),
        (below("_orig_mod."), ""),
        ({name.replace("3.", "3._fsdp_wrapped_module."): tensor for name, tensor in below("").items()}, ""),
        ({"model": below("module.backbone."), "epoch": 3}, ""),
        ({"state_dict": below("model.encoder."), "optimizer": {"state": {0: {"exp_avg": torch.ones(3)}}}}, ""),
        ({"state_dict": below("model.encoder.") | HEAD}, "the weights below 'state_dict.model.encoder.', without head"),
        (below("encoder.") | below("encoder_copy."), ""),  # equal: no choice
        (below("teacher.") | below("student.", 1) | HEAD, "the weights below 'teacher.', without head, student"),
        (below("encoder_q.") | below("encoder_k.", 1), "the weights below 'encoder_q.', without encoder_k"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_one_prefix_that_explains_all_is_taken_off(tmp_path, content, told):
    target, taken = loaded(content, tmp_path)
    if "encoder_copy" not in str(list(content)):
        assert taken == told
    for name, tensor in network().state_dict().items():
        assert torch.equal(target.state_dict()[name], tensor)


def test_two_networks_without_a_known_name_are_not_chosen_from(tmp_path):
    with pytest.raises(WeightsError, match=r"several networks that fit, below 'first\.', 'second\.'; save the one"):
        loaded(below("first.") | below("second.", 1), tmp_path)


def test_what_fits_nowhere_is_listed_where_it_fits_best(tmp_path):
    state = below("model.")
    del state["model.3.bias"]
    with pytest.raises(WeightsError, match=r"do not fit Sequential: 1 missing: 3\.bias \(below 'model\.'\)"):
        loaded(state, tmp_path)
    with pytest.raises(WeightsError, match=r"1 unexpected: extra\.weight"):  # a part that this network lacks
        loaded(below("") | {"extra.weight": torch.ones(1)}, tmp_path)


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth", "w.bin"])
def test_the_kind_of_a_file_is_told_by_its_content(tmp_path, name):
    save_file(below(""), tmp_path / name)
    assert read_weights(tmp_path / name).keys() == below("").keys()
    torch.save(below(""), tmp_path / name)
    assert read_weights(tmp_path / name).keys() == below("").keys()


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (LFS, "is a Git LFS pointer, .*git lfs pull"),
        (b"<!DOCTYPE html>\n<html><body>Log in</body></html>", "is a web page"),
        (b'{"weight_map": {}}', "is JSON"),
        (b"\x89HDF\r\n\x1a\n", "is HDF5"),
        (b"\x1f\x8b\x08", "is a compressed archive"),
        (b"", "is empty"),
        (b"nothing of the kind", "of no kind that is known here"),
        (save(below(""))[:-9], "is a safetensors file that is cut short or damaged"),
        (b"PK\x03\x04 torn", "is cut short or damaged, or a pickle that torch"),
        (pickle.dumps({"a": 1}), "is cut short or damaged, or a pickle that torch"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_weights_says_what_it_is(tmp_path, content, message):
    for name in ("w.pth", "w.safetensors"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(WeightsError, match=message):
            read_weights(tmp_path / name)


@pytest.mark.parametrize(
    "content", [Path("code"), nn.Linear(2, 2), {"state_dict": {"a": torch.ones(1)}, "args": Path("a")}]
)
def test_objects_are_named_and_never_unpickled(tmp_path, content):
    for new in (True, False):
        torch.save(content, tmp_path / "w.pt", _use_new_zipfile_serialization=new)
        with pytest.raises(WeightsError, match=r"Python objects besides tensors \(\S+\)") as raised:
            read_weights(tmp_path / "w.pt")
        assert "allowlist" not in str(raised.value) and "weights_only" not in str(raised.value)


def test_a_file_without_tensors_says_what_it_holds(tmp_path):
    for content, message in (({"epoch": 3}, "a mapping with epoch"), ([1], "a list"), (torch.ones(2), "a Tensor")):
        torch.save(content, tmp_path / "w.pt")
        with pytest.raises(WeightsError, match=f"no state dict .*, but {message}"):
            read_weights(tmp_path / "w.pt")
