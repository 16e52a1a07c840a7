"""CLIP and SigLIP as Hugging Face transformers publishes them: a folder or a repository of the hub, and no code of it.

The classes are those of the installed library, and weights are read as tensors only.
"""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from embedstore.errors import ConfigError, UnknownExtractorError, WeightsError
from embedstore.extractors.config import ExtractorConfig, checked_rgb
from embedstore.extractors.networks.architecture import import_timm
from embedstore.extractors.networks.network import NetworkExtractor
from embedstore.extractors.networks.two_towers import (
    NetworkTextTower,
    learnt_scale,
    make_extractor,
    not_installed,
    require_joint_space,
    require_no_code,
)
from embedstore.extractors.networks.weights import fit_weights
from embedstore.extractors.networks.weights_file import read_weights
from embedstore.extractors.spec import ExtractorSpec
from embedstore.text_files import read_text
from embedstore.uris import shown_path

PREFIX = "transformers:"
#: {model_type of config.json: class}.
CLASSES = {"clip": "CLIPModel", "siglip": "SiglipModel"}
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
PREPROCESSING = "preprocessor_config.json"
TOKENIZER = (
    "tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt", "special_tokens_map.json", "spiece.model",
)  # fmt: skip
#: One of these a tokenizer needs.
VOCABULARIES = ("tokenizer.json", "vocab.json", "spiece.model")
#: Pillow's numbers, which preprocessing files hold.
RESAMPLING = {2: "bilinear", 3: "bicubic"}
#: What decides what a picture side computes.
VISION_FACTS = (
    "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "image_size", "patch_size",
    "hidden_act", "layer_norm_eps",
)  # fmt: skip


def import_transformers() -> ModuleType:
    """Import transformers.

    Raises:
        ConfigError: it is not installed.
    """
    import_timm()  # which mends torchvision where it must
    try:
        import transformers
    except ModuleNotFoundError as error:
        if error.name != "transformers":
            raise
        raise not_installed("transformers", f"{PREFIX}ORG/NAME") from error
    return transformers


class _Files:
    """The files of a folder, or of a repository of the hub."""

    def __init__(self, source: str):
        self.source = source
        self.folder = Path(source).expanduser() if _is_folder(source) else None
        if self.folder is not None and not self.folder.is_dir():
            raise UnknownExtractorError(f"extractor {PREFIX + source!r}: there is no folder {self.folder}")

    @property
    def shown(self) -> str:
        return self.source if self.folder is None else shown_path(self.folder)

    def find(self, *names: str) -> Path | None:
        """The first file of some names; None where there is none.

        Raises:
            WeightsError: the hub cannot be asked.
        """
        if self.folder is not None:
            return next((self.folder / name for name in names if (self.folder / name).is_file()), None)
        import huggingface_hub

        for name in names:
            if isinstance(cached := huggingface_hub.try_to_load_from_cache(self.source, name), str):
                return Path(cached)
        return next((path for name in names if (path := self._fetched(name)) is not None), None)

    def has(self, name: str) -> bool:
        """Whether there is a file that need not be there; not if the hub cannot be asked."""
        try:
            return self.find(name) is not None
        except WeightsError:
            return False

    def _fetched(self, name: str) -> Path | None:
        import huggingface_hub
        from huggingface_hub import errors

        try:
            return Path(huggingface_hub.hf_hub_download(self.source, name))
        except errors.LocalEntryNotFoundError as error:
            raise self._away(error) from error
        except errors.EntryNotFoundError:
            return None
        except Exception as error:  # of any HTTP library that the hub's client may use
            raise self._away(error) from error

    def _away(self, error: Exception) -> WeightsError:
        return WeightsError(
            f"the hub did not deliver {self.source}: {str(error).split(chr(10))[0].rstrip('.')}. On a machine with "
            f"network: `hf download {self.source} --local-dir FOLDER`; bring the folder, and name it as "
            f"{PREFIX}/path/to/FOLDER"
        )

    def read(self, name: str) -> dict[str, Any]:
        """A JSON file.

        Raises:
            WeightsError: there is none, or it is none.
        """
        path = self.find(name)
        if path is None:
            raise WeightsError(f"{self.shown} has no {name}; expected CLIP or SigLIP as transformers saves it")
        try:
            found = json.loads(read_text(path, limit_bytes=1 << 24))
        except (OSError, ValueError, RecursionError) as error:
            raise WeightsError(f"{name} of {self.shown} cannot be read: {error}") from error
        if not isinstance(found, dict):
            raise WeightsError(f"{name} of {self.shown} holds a {type(found).__name__}; expected a table")
        return found


def _is_folder(source: str) -> bool:
    return source.startswith(("/", ".", "~")) or source.count("/") != 1 or Path(source).is_dir()


def describe(config: ExtractorConfig, source: str) -> ExtractorSpec:
    """The facts of a folder or repository; reads its configuration, and no weights.

    Args:
        source: A folder, or a repository of the hub.
    Raises:
        UnknownExtractorError: there is no such folder.
        WeightsError: it holds something else than CLIP or SigLIP, or the hub cannot be reached.
        ConfigError: an override that it cannot have.
    """
    return _described(config, _Files(source))[0]


def _described(config: ExtractorConfig, files: _Files) -> tuple[ExtractorSpec, dict[str, Any]]:
    facts = files.read("config.json")
    kind = facts.get("model_type")
    if kind not in CLASSES:
        raise WeightsError(
            f"{files.shown} holds a model of type {kind!r}; expected {' or '.join(CLASSES)}, which have a text tower; "
            "load others with a function of your own: docs/words.md shows how"
        )
    name = Path(files.source).name
    require_no_code(facts, files.shown)
    require_joint_space(config, name)
    vision = _vision(facts, kind)
    mean, std, interpolation = _preprocessing(config, files)
    edge = int(vision["image_size"])
    spec = ExtractorSpec(
        name=name,
        kind="transformers",
        source=f"{PREFIX}{name}" if files.folder is not None else f"hub:{files.source}",
        arch=f"{PREFIX}{kind}",
        arch_args={**vision, **({"projection_dim": facts["projection_dim"]} if "projection_dim" in facts else {})},
        hub_id=None if files.folder is not None else files.source,
        tile_px=edge,
        input_px=edge,
        interpolation=interpolation,
        mean=mean,
        std=std,
    )
    if config.arch_args:
        raise ConfigError(f"extractor {name!r} is built as its config.json says; leave out arch_args")
    return dataclasses.replace(spec.with_overrides(config), input_px=edge), facts


def _vision(facts: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """The picture side's facts, those that the file leaves to the library included."""
    made = getattr(import_transformers(), CLASSES[kind].replace("Model", "Config")).from_dict(dict(facts)).vision_config
    return {name: getattr(made, name) for name in VISION_FACTS}


def _preprocessing(config: ExtractorConfig, files: _Files) -> tuple[Any, Any, str]:
    """mean, std, and how pictures are resized."""
    if not files.has(PREPROCESSING):
        if config.mean is None or config.std is None:
            raise WeightsError(
                f"{files.shown} has no {PREPROCESSING}, so how its pictures are normalised is not known; save the "
                "processor there too, or give mean and std"
            )
        return config.mean, config.std, "bicubic"
    facts = files.read(PREPROCESSING)
    resample = facts.get("resample", 3)
    if not facts.get("image_mean") or not facts.get("image_std") or resample not in RESAMPLING:
        raise WeightsError(
            f"{PREPROCESSING} of {files.shown} does not say image_mean and image_std, or resizes in way {resample}; "
            f"expected one of {', '.join(map(str, RESAMPLING))}"
        )
    mean, std = (checked_rgb(facts[name], name.removeprefix("image_")) for name in ("image_mean", "image_std"))
    return mean, std, RESAMPLING[resample]


class _ImageSide(nn.Module):
    """Pictures to the projected embeddings, under the names of the published tensors."""

    def __init__(self, model: Any):
        super().__init__()
        self.vision_model = model.vision_model
        if hasattr(model, "visual_projection"):  # SigLIP's pooling leads there by itself
            self.visual_projection = model.visual_projection

    def forward(self, images: Tensor) -> Tensor:
        pooled = self.vision_model(pixel_values=images).pooler_output
        return self.visual_projection(pooled) if hasattr(self, "visual_projection") else pooled


def load(config: ExtractorConfig, source: str, *, device: torch.device) -> NetworkExtractor:
    """The extractor with its text tower; errors as of `describe`, and WeightsError where the weights do not fit."""
    transformers = import_transformers()
    files = _Files(source)
    spec, facts = _described(config, files)
    kind = facts["model_type"]
    if config.weights is not None and config.random_seed is None:
        raise ConfigError(
            f"extractor {spec.name!r} has its weights in its folder; leave out weights={config.weights!r}, or name "
            "another folder"
        )
    settings = getattr(transformers, CLASSES[kind].replace("Model", "Config")).from_dict(facts)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.random_seed or 0)
        model = getattr(transformers, CLASSES[kind])(settings)
    if config.random_seed is None:
        path = files.find(*WEIGHTS)
        if path is None:
            raise WeightsError(f"{files.shown} has no {' or '.join(WEIGHTS)}; weights in parts are not read: save one")
        state = {name: tensor for name, tensor in read_weights(path).items() if not name.endswith("position_ids")}
        fit_weights(model, state, weights_format="exact", source=f"{files.shown}/{path.name}")
    else:
        spec = dataclasses.replace(spec, source=f"random weights, seed {config.random_seed}", hub_id=None)
    model = model.eval().requires_grad_(False)
    return make_extractor(spec, _ImageSide(model), lambda dim: _text_tower(model, files, settings, dim), device=device)


def _text_tower(model: Any, files: _Files, settings: Any, dim: int) -> NetworkTextTower:
    tokenizer, context = _tokenizer(files), int(settings.text_config.max_position_embeddings)
    padding = "max_length" if settings.model_type == "siglip" else "longest"  # as each was trained

    def tokens(text: str) -> list[int]:
        ids: list[int] = tokenizer(text, truncation=False, verbose=False)["input_ids"]
        return ids

    def embed(texts: list[str]) -> Tensor:
        batch = tokenizer(texts, padding=padding, max_length=context, truncation=True, return_tensors="pt")
        given = {name: batch[name] for name in ("input_ids", "attention_mask") if name in batch}
        if settings.model_type == "siglip":
            given.pop("attention_mask", None)  # it was trained to see its padding
        features = model.get_text_features(**given)
        return getattr(features, "pooler_output", features)

    names = ("text_model.", "text_projection.", "logit_scale", "logit_bias")
    return NetworkTextTower(
        dim=dim,
        weights={name: tensor for name, tensor in model.state_dict().items() if name.startswith(names)},
        logit_scale=learnt_scale(model.logit_scale),
        context_tokens=context,
        tokens=tokens,
        count=lambda text: len(tokens(text)),
        embed=embed,
    )


def _tokenizer(files: _Files) -> Any:
    from transformers import AutoTokenizer

    if files.has("tokenizer_config.json"):
        require_no_code(files.read("tokenizer_config.json"), files.shown)
    if files.folder is None:
        for name in TOKENIZER:
            files.has(name)  # into the hub's cache
    if not any(files.has(name) for name in VOCABULARIES):  # without, the library makes an empty tokenizer
        raise WeightsError(f"{files.shown} has no tokenizer; expected {' or '.join(VOCABULARIES)} beside the weights")
    place = files.source if files.folder is None else str(files.folder)
    try:
        return AutoTokenizer.from_pretrained(place, trust_remote_code=False, local_files_only=True)
    except Exception as error:  # the library raises what its parts do
        raise WeightsError(
            f"the tokenizer of {files.shown} cannot be loaded: {str(error).split(chr(10))[0]}; copy the folder again"
        ) from error
