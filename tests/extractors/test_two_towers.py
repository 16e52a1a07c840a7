"""Networks of open_clip and transformers with their text towers: small ones made at random, and what is refused."""

import json
import logging
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from embedstore.errors import ConfigError, ExtractorError, QueryError, UnknownExtractorError, WeightsError
from embedstore.extractors import Extractor, ExtractorConfig, catalogue, describe_extractor, load_extractor
from embedstore.extractors.load import may_have_text_tower
from embedstore.extractors.networks.open_clip_towers import token_counter
from tests.extractors.contract import ExtractorContract
from tests.extractors.tower_folders import CONTEXT, DIM, TILE_PX, open_clip_folder, transformers_folder

KINDS = ("open_clip", "clip", "siglip")
pytestmark = pytest.mark.slow  # importing open_clip and transformers takes seconds


def library(kind: str) -> str:
    return "open_clip" if kind == "open_clip" else "transformers"


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("towers")
    made = {kind: transformers_folder(folder / kind, kind) for kind in KINDS[1:]}
    return {**made, "open_clip": open_clip_folder(folder / "open_clip")}


@pytest.fixture(scope="session")
def extractors(folders: dict[str, Path]) -> dict[str, Extractor]:
    return {kind: load(folder, kind) for kind, folder in folders.items()}


def load(folder: Path, kind: str, **settings) -> Extractor:
    return load_extractor(ExtractorConfig(ref=f"{library(kind)}:{folder}", mpp=0.5, **settings), device="cpu")


def pixels(n: int = 3, edge: int = TILE_PX) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, edge, edge, 3), np.uint8)


class TestContract(ExtractorContract):
    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def _config(cls, folders):
        cls.config = ExtractorConfig(ref=f"transformers:{folders['clip']}", mpp=0.5)


@pytest.mark.parametrize("kind", KINDS)
def test_both_sides_give_what_the_library_gives(extractors, folders, kind):
    import torch

    images = torch.from_numpy((pixels() / 255 - 0.5) / 0.25).permute(0, 3, 1, 2).float()
    texts = ["red tile", "dense lymphocytes of tissue"]
    if kind == "open_clip":
        import open_clip

        model, _, _ = open_clip.create_model_and_transforms(f"local-dir:{folders[kind]}")
        with torch.inference_mode():
            image = model.eval().encode_image(images)
            text = model.encode_text(open_clip.get_tokenizer(f"local-dir:{folders[kind]}")(texts))
    else:
        import transformers

        model = transformers.AutoModel.from_pretrained(folders[kind]).eval()
        tokenizer = transformers.AutoTokenizer.from_pretrained(folders[kind])
        padding = {"padding": "max_length", "max_length": CONTEXT} if kind == "siglip" else {"padding": True}
        batch = tokenizer(texts, return_tensors="pt", **padding)
        given = {"input_ids": batch["input_ids"]}
        given |= {} if kind == "siglip" else {"attention_mask": batch["attention_mask"]}
        with torch.inference_mode():
            image = model.get_image_features(pixel_values=images).pooler_output
            text = model.get_text_features(**given).pooler_output
    extractor = extractors[kind]
    assert extractor.dim == DIM
    np.testing.assert_allclose(extractor.embed(pixels()), image.numpy(), atol=2e-3)
    np.testing.assert_allclose(extractor.text_tower.embed_text(texts), text.numpy(), atol=1e-5)
    np.testing.assert_allclose(extractor.text_tower.embed_text(texts[1:]), text[1:].numpy(), atol=1e-5)
    assert extractor.text_tower.logit_scale == pytest.approx(float(model.logit_scale.detach().exp()))


@pytest.mark.parametrize("kind", KINDS)
def test_each_side_has_a_digest_of_its_own(extractors, folders, kind, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(folders[kind], tmp_path / "copy")
    again = load(folder, kind)
    assert (again.digest, again.text_tower.digest) == (extractors[kind].digest, extractors[kind].text_tower.digest)
    file = next(folder.glob("*.safetensors"))
    state = load_file(file)
    for prefix, changed in ((("visual.", "vision_model."), "image"), (("token_emb", "text_model."), "text")):
        name = next(name for name in state if name.startswith(prefix))
        save_file({**state, name: state[name] + 0.01}, file)
        other = load(folder, kind)
        assert (other.digest != again.digest) == (changed == "image")
        assert (other.text_tower.digest != again.text_tower.digest) == (changed == "text")


@pytest.mark.parametrize("kind", KINDS)
def test_texts_are_never_cut(extractors, kind):
    tower = extractors[kind].text_tower
    longest = " ".join(["red"] * (CONTEXT - 2))
    assert tower.embed_text([longest]).shape == (1, DIM)
    with pytest.raises(QueryError, match=f"has {CONTEXT + 1} tokens; the text tower takes {CONTEXT}"):
        tower.embed_text(["blue", f"{longest} red"])


@pytest.mark.parametrize("padding", ["<pad>", "</s>"], ids=["padded by its own token", "padded by the end token"])
@pytest.mark.parametrize(("mode", "around"), [("standard", 2), ("stripped", 2), ("clips", 3)])
def test_tokens_are_counted_as_each_tokenizer_pads(folders, tmp_path: Path, padding: str, mode: str, around: int):
    import open_clip
    import transformers

    folder = tmp_path / "tokenizer"
    tokenizer = transformers.AutoTokenizer.from_pretrained(folders["clip"])
    tokenizer.add_special_tokens({"pad_token": padding, "sep_token": "</s>", "cls_token": "<unk>"})
    tokenizer.save_pretrained(folder)
    made = open_clip.tokenizer.HFTokenizer(
        str(folder), context_length=CONTEXT, strip_sep_token=mode == "stripped",
        tokenizer_mode="clips" if mode == "clips" else None,
    )  # fmt: skip
    count = token_counter(made, CONTEXT)
    assert [count(" ".join(["red"] * words)) for words in (0, 1, 5, CONTEXT)] == [
        words + around for words in (0, 1, 5, CONTEXT)
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_overrides(folders, extractors, kind):
    other = load(folders[kind], kind, tile_px=64, name="mine", mean=(0.4, 0.5, 0.6))
    assert (other.name, other.tile_px, other.embed(pixels(edge=64)).shape) == ("mine", 64, (3, DIM))
    assert other.digest != extractors[kind].digest
    assert describe_extractor(ExtractorConfig(ref=f"{library(kind)}:{folders[kind]}")).tile_px == TILE_PX
    random = load(folders[kind], kind, weights="random:3")
    assert random.spec.source == "random weights, seed 3" and random.digest != extractors[kind].digest
    assert random.digest == load(folders[kind], kind, weights="random:3").digest
    for wrong in ({"pooling": "cls"}, {"arch_args": {"depth": 3}}):
        with pytest.raises(ConfigError, match="leave"):
            load(folders[kind], kind, **wrong)


def test_a_folder_is_named_from_anywhere(folders, monkeypatch):
    monkeypatch.chdir(folders["clip"].parent)
    assert ExtractorConfig(ref="transformers:clip").ref == f"transformers:{folders['clip']}"
    assert ExtractorConfig(ref="transformers:vinid/plip").ref == "transformers:vinid/plip"
    assert ExtractorConfig(ref="open_clip:./open_clip").ref == f"open_clip:{folders['open_clip']}"


def test_open_clip_by_name_with_weights_of_ones_own(tmp_path, caplog):
    from safetensors.torch import save_file

    config = ExtractorConfig(ref="open_clip:ViT-S-32/", weights="random")
    handlers = logging.getLogger().handlers[:]
    with caplog.at_level(logging.INFO):
        made = load_extractor(config, device="cpu")
    assert logging.getLogger().handlers == handlers
    assert (made.name, made.dim, made.tile_px) == ("ViT-S-32", 384, 224) and not caplog.records
    assert made.text_tower.context_tokens == 77
    import open_clip

    model = open_clip.create_model("ViT-S-32", load_weights=False)
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, tmp_path / "w.safetensors")
    own = load_extractor(
        ExtractorConfig(ref="open_clip:ViT-S-32", weights=str(tmp_path / "w.safetensors")), device="cpu"
    )
    assert own.digest != made.digest and own.spec.source == "file:w.safetensors"
    with pytest.raises(WeightsError, match="names no weights; write open_clip:ViT-B-32/TAG with one of openai"):
        load_extractor("open_clip:ViT-B-32", device="cpu")
    with pytest.raises(WeightsError, match="do not fit CLIP"):
        load_extractor(ExtractorConfig(ref="open_clip:ViT-B-32", weights=str(tmp_path / "w.safetensors")), device="cpu")


def test_weights_that_were_trained_with_another_activation_get_it():
    from embedstore.extractors.networks.open_clip_towers import _find

    assert _find("ViT-B-32/openai").quick_gelu and not _find("ViT-B-32/laion2b_s34b_b79k").quick_gelu
    assert describe_extractor("open_clip:ViT-B-32/openai") == ("ViT-B-32-openai", 224, None)


@pytest.mark.parametrize(
    ("ref", "error", "said"),
    [
        ("open_clip:ViT-B-33", UnknownExtractorError, "did you mean vit-b-32"),
        ("open_clip:ViT-B-32/laion", UnknownExtractorError, "knows no weights 'laion' of ViT-B-32; it knows openai"),
        ("open_clip:/nowhere", UnknownExtractorError, "has no open_clip_config.json"),
        ("open_clip:ViT-B-32/laion2b_s34b_b79k", WeightsError, "the hub did not deliver laion/.*--weights FILE"),
        ("open_clip:hf-hub:wisdomik/QuiltNet-B-32", WeightsError, "the hub did not deliver wisdomik/QuiltNet-B-32"),
        ("quiltnet-b-32", WeightsError, "the hub did not deliver wisdomik/QuiltNet-B-32"),
        ("transformers:/nowhere", UnknownExtractorError, "there is no folder /nowhere"),
        ("transformers:vinid/plip", WeightsError, "the hub did not deliver vinid/plip.*--local-dir FOLDER"),
        ("plip", WeightsError, "the hub did not deliver vinid/plip"),
        ("conch", ExtractorError, "loaded by a package of its authors"),
    ],
)
def test_what_is_not_at_hand(ref, error, said, monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(error, match=said):
        load_extractor(ExtractorConfig(ref=ref), device="cpu")


@pytest.mark.parametrize(
    ("kind", "file", "change", "said"),
    [
        ("clip", "config.json", {"model_type": "bert"}, "of type 'bert'; expected clip or siglip"),
        ("clip", "config.json", {"auto_map": {"AutoModel": "modeling.Mine"}}, "asks for Python code"),
        ("clip", "tokenizer_config.json", {"auto_map": {"AutoTokenizer": "tok.Mine"}}, "asks for Python code"),
        ("clip", "preprocessor_config.json", {"image_mean": None}, "does not say image_mean"),
        ("clip", "preprocessor_config.json", None, "how its pictures are normalised is not known"),
        ("clip", "model.safetensors", None, "has no model.safetensors or pytorch_model.bin"),
        ("clip", "tokenizer.json", None, "has no tokenizer; expected tokenizer.json"),
        ("open_clip", "open_clip_config.json",
         {"model_cfg": {"text_cfg": {"tokenizer_kwargs": {"trust_remote_code": 1}}}}, "asks for Python code"),
        ("open_clip", "open_clip_config.json", {"model_cfg": {"vision_cfg": 3}}, "no vision_cfg and text_cfg"),
        ("open_clip", "open_clip_config.json", {"model_cfg": 3}, "no table model_cfg"),
        ("open_clip", "open_clip_model.safetensors", None, "has no weights; expected open_clip_model.safetensors"),
    ],
)  # fmt: skip
def test_folders_that_are_refused(folders, tmp_path, kind, file, change, said):
    folder = shutil.copytree(folders[kind], tmp_path / "copy")
    if change is None:
        (folder / file).unlink()
        if file == "tokenizer.json":
            (folder / "tokenizer_config.json").unlink()
    else:
        facts = json.loads((folder / file).read_text())
        (folder / file).write_text(json.dumps({**facts, **change}))
    with pytest.raises((WeightsError, ConfigError), match=said):
        load(folder, kind)


@pytest.mark.parametrize("kind", ["open_clip", "clip"])
@pytest.mark.parametrize("what", ["code", "cut"])
def test_weights_with_code_are_refused(folders, tmp_path, kind, what):
    import pickle

    class Evil:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    folder = shutil.copytree(folders[kind], tmp_path / "copy")
    whole = next(folder.glob("*.safetensors"))
    data = pickle.dumps({"visual.proj": Evil()}) if what == "code" else whole.read_bytes()[:1000]
    whole.unlink()
    name = {"open_clip": "open_clip_pytorch_model.bin", "clip": "pytorch_model.bin"}[kind]
    (folder / name).write_bytes(data)
    with pytest.raises(WeightsError):
        load(folder, kind)
    assert not (tmp_path / "ran").exists()


def test_what_may_have_words():
    assert all(map(may_have_text_tower, ("plip", "conch", "quiltnet-b-32", "open_clip:x", "transformers:x", "a:b")))
    assert not any(map(may_have_text_tower, ("uni", "resnet18", "timm:vit_base_patch16_clip_224.openai")))
    assert catalogue()["plip"].has_text_tower


@pytest.mark.parametrize("kind", ["open_clip", "clip"])
def test_a_library_that_is_not_installed(folders, monkeypatch, kind):
    monkeypatch.setitem(sys.modules, library(kind), None)
    with pytest.raises(ConfigError, match=r'is not installed, .* run `pip install "embedstore\[text\]"`'):
        load(folders[kind], kind)
