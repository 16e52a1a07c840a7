"""Networks of open_clip: by the name of an architecture and its published weights, a repository of the hub, a folder.

The classes are those of the installed library, and weights are read as tensors only.
"""

import contextlib
import dataclasses
import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

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
from embedstore.extractors.networks.weights_file import read_weights
from embedstore.extractors.spec import ExtractorSpec
from embedstore.text_files import read_text
from embedstore.typed_values import guess
from embedstore.uris import shown_path

PREFIX = "open_clip:"
HUB, FOLDER = "hf-hub:", "local-dir:"
#: Longer than any text of a query in tokens: a tokenizer shows with it what a shorter context would cut off.
LONG_CONTEXT = 16_384
CONFIGURATION = "open_clip_config.json"
#: Names of the weights in a folder, in order of preference.
WEIGHTS = (
    "open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "open_clip_pytorch_model.bin",
    "model.safetensors", "pytorch_model.bin",
)  # fmt: skip


class _Source(NamedTuple):
    """Where a network comes from.

    Attributes:
        model: What open_clip calls it: `ViT-B-32`, `hf-hub:ORG/NAME`, `local-dir:/folder`.
        tag: Of the published weights of an architecture; '' where there is none.
        facts: Its configuration: embed_dim, vision_cfg, text_cfg …
        preprocessing: Its normalisation, and so on.
    """

    model: str
    tag: str
    facts: Mapping[str, Any]
    preprocessing: Mapping[str, Any]

    @property
    def name(self) -> str:
        short = self.model.removeprefix(HUB).removeprefix(FOLDER).rstrip("/").rpartition("/")[2]
        return f"{short}-{self.tag}" if self.tag else short

    @property
    def quick_gelu(self) -> bool:
        return bool(self.facts.get("quick_gelu") or self.preprocessing.get("quick_gelu"))


def import_open_clip() -> ModuleType:
    """Import open_clip; errors as of `load`."""
    import_timm()  # which mends torchvision where it must
    try:
        import open_clip
    except ModuleNotFoundError as error:
        if error.name != "open_clip":
            raise
        raise not_installed("open_clip_torch", "open_clip:ViT-B-32") from error
    return open_clip


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep what open_clip tells to itself: it warns of what is meant so.

    It logs by the functions of `logging`, which give the root logger a handler where it has none: every line of this
    process's own would then be printed twice.
    """
    root, handler = logging.getLogger(), logging.NullHandler()
    root.addHandler(handler)
    root.addFilter(_by_others)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        root.removeFilter(_by_others)
        root.removeHandler(handler)


def _by_others(record: logging.LogRecord) -> bool:
    return "open_clip" not in record.pathname


def _find(source: str) -> _Source:
    """What a reference names.

    Raises:
        UnknownExtractorError: open_clip knows no such architecture, tag, or folder.
        WeightsError: a configuration cannot be read or fetched, or asks for code.
    """
    open_clip = import_open_clip()
    if source.startswith(("/", ".", "~")) or Path(source).is_dir():
        folder = Path(source).expanduser().absolute()
        found = _configuration(folder / CONFIGURATION, shown_path(folder))
        return _checked(_Source(f"{FOLDER}{folder}", "", found["model_cfg"], found.get("preprocess_cfg", {})))
    if source.startswith(HUB):
        found = _configuration(_fetched(source.removeprefix(HUB)), source)
        return _checked(_Source(source, "", found["model_cfg"], found.get("preprocess_cfg", {})))
    model, _, tag = source.partition("/")
    facts = open_clip.get_model_config(model)
    if facts is None:
        known = {name.lower(): name for name in open_clip.list_models()}
        raise UnknownExtractorError(
            f"open_clip has no architecture {model!r}{guess([model], known)}; `python -c 'import open_clip; "
            f"print(open_clip.list_models())'` lists them, {PREFIX}{HUB}ORG/NAME is one of the hub, and "
            f"{PREFIX}/path/to/folder one of your own"
        )
    published = open_clip.get_pretrained_cfg(model, tag) if tag else {}
    if tag and not published:
        tags = open_clip.list_pretrained_tags_by_model(model)
        raise UnknownExtractorError(
            f"open_clip knows no weights {tag!r} of {model}; it knows {', '.join(tags) or 'none'}"
        )
    return _checked(_Source(model, tag, facts, published))


def _checked(source: _Source) -> _Source:
    require_no_code(source.facts, source.model)
    if {"hf_model_name", "hf_tokenizer_name"} & set(source.facts.get("text_cfg") or {}):
        from transformers import dynamic_module_utils

        dynamic_module_utils.TIME_OUT_REMOTE_CODE = 0  # it would ask at a terminal whether to run a stranger's code
    if not isinstance(source.facts.get("vision_cfg"), Mapping) or not isinstance(source.facts.get("text_cfg"), Mapping):
        raise WeightsError(f"the configuration of {source.model} has no vision_cfg and text_cfg; expected both")
    return source


def _configuration(path: Path, where: str) -> dict[str, Any]:
    try:
        found = json.loads(read_text(path, limit_bytes=1 << 24))
    except OSError as error:
        raise UnknownExtractorError(
            f"{where} has no {CONFIGURATION}: {error.strerror or error}; expected a folder as open_clip saves it"
        ) from error
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{CONFIGURATION} of {where} cannot be read: {error}") from error
    if not isinstance(found, dict) or not isinstance(found.get("model_cfg"), dict):
        raise WeightsError(f"{CONFIGURATION} of {where} has no table model_cfg; expected what open_clip saves")
    return found


def _fetched(repository: str) -> Path:
    import huggingface_hub

    try:
        return Path(huggingface_hub.hf_hub_download(repository, CONFIGURATION))
    except Exception as error:  # of any HTTP library that the hub's client may use
        raise _away(repository, error) from error


def _away(repository: str, error: Exception) -> WeightsError:
    reason = str(error).split("\n")[0].rstrip(".")
    return WeightsError(
        f"the hub did not deliver {repository}: {reason}. On a machine with network: `hf download {repository} "
        f"--local-dir FOLDER`; bring the folder and name it as {PREFIX}/path/to/FOLDER, or give the file of its "
        "weights with --weights FILE"
    )


def describe(config: ExtractorConfig, source: str) -> ExtractorSpec:
    """The facts of a network, without its weights; errors as of `load`."""
    return _spec(config, _find(source))


def _spec(config: ExtractorConfig, source: _Source) -> ExtractorSpec:
    require_joint_space(config, source.name)
    if config.arch_args:
        raise ConfigError(f"extractor {source.name!r} is built as open_clip configures it; leave out arch_args")
    open_clip = import_open_clip()
    vision = {name: value for name, value in source.facts["vision_cfg"].items() if name != "timm_model_pretrained"}
    size = source.preprocessing.get("size") or vision.get("image_size", 224)
    edges = {int(edge) for edge in (size if isinstance(size, list | tuple) else [size])}
    if len(edges) != 1:
        raise ConfigError(f"extractor {source.name!r} takes pictures of {size} px; expected square ones")
    edge = edges.pop()
    where = "hub" if source.model.startswith(HUB) else "open_clip"
    spec = ExtractorSpec(
        name=source.name,
        kind="open_clip",
        source=f"{where}:{source.model.removeprefix(HUB)}" if FOLDER not in source.model else f"folder:{source.name}",
        arch="open_clip",
        arch_args={"embed_dim": source.facts.get("embed_dim"), "vision_cfg": vision, "quick_gelu": source.quick_gelu},
        hub_id=source.model.removeprefix(HUB) if source.model.startswith(HUB) else None,
        tile_px=edge,
        input_px=edge,
        interpolation=source.preprocessing.get("interpolation", "bicubic"),
        mean=checked_rgb(source.preprocessing.get("mean") or open_clip.OPENAI_DATASET_MEAN, "mean"),
        std=checked_rgb(source.preprocessing.get("std") or open_clip.OPENAI_DATASET_STD, "std"),
    )
    return dataclasses.replace(spec.with_overrides(config), input_px=edge)


class _ImageSide(nn.Module):
    """Pictures to the projected embeddings, of networks that give their tokens beside them, too."""

    def __init__(self, visual: nn.Module):
        super().__init__()
        self.visual = visual

    def forward(self, images: Tensor) -> Tensor:
        output: Any = self.visual(images)
        features: Tensor = output[0] if isinstance(output, tuple) else output
        return features


def load(config: ExtractorConfig, source: str, *, device: torch.device) -> NetworkExtractor:
    """The extractor with its text tower.

    Args:
        source: What stands after `open_clip:`: an architecture, with the tag of its published weights after a slash;
            `hf-hub:ORG/NAME`; or a folder.
    Raises:
        ConfigError: open_clip is not installed, or an override that the network cannot have.
        UnknownExtractorError: open_clip knows no such architecture, tag or folder.
        WeightsError: the weights are missing, do not fit, or ask for code.
    """
    found = _find(source)
    spec = _spec(config, found)
    path = None if config.random_seed is not None else _weights(config, found)
    open_clip = import_open_clip()
    try:
        with torch.random.fork_rng(devices=[]), _quiet():
            torch.manual_seed(config.random_seed or 0)
            model = open_clip.create_model(
                found.model, load_weights=False, pretrained_text=False, force_quick_gelu=found.quick_gelu
            )
    except Exception as error:  # the library raises what its parts do
        raise WeightsError(f"open_clip cannot build {found.name}: {str(error).splitlines()[0]}") from error
    if path is None:
        spec = dataclasses.replace(spec, source=f"random weights, seed {config.random_seed}", hub_id=None)
    else:
        _fill(open_clip, model, path)
        if config.weights:
            spec = dataclasses.replace(spec, source=f"file:{path.name}", hub_id=None)
    model = model.eval().requires_grad_(False)
    return make_extractor(
        spec, _ImageSide(model.visual), lambda dim: _text_tower(open_clip, model, found, dim), device=device
    )


def _weights(config: ExtractorConfig, source: _Source) -> Path:
    """The file of the weights."""
    open_clip = import_open_clip()
    if config.weights:
        return Path(config.weights)
    if source.model.startswith(FOLDER):
        folder = Path(source.model.removeprefix(FOLDER))
        found = next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)
        if found is None:
            raise WeightsError(f"{shown_path(folder)} has no weights; expected {WEIGHTS[0]} beside its JSON")
        return found
    if not source.tag and not source.model.startswith(HUB):
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(source.model))
        raise WeightsError(
            f"extractor {PREFIX}{source.model} names no weights; write {PREFIX}{source.model}/TAG with one of "
            f"{tags or '(none is published)'}, or pass a file with --weights FILE, or --weights random"
        )
    try:
        if source.model.startswith(HUB):
            return Path(open_clip.download_pretrained_from_hf(source.model.removeprefix(HUB)))
        return Path(open_clip.download_pretrained(dict(source.preprocessing)))
    except Exception as error:  # of any HTTP library that the hub's client may use
        repository = source.preprocessing.get("hf_hub", "").rpartition("/")[0] or source.model.removeprefix(HUB)
        raise _away(repository, error) from error


def _fill(open_clip: ModuleType, model: nn.Module, path: Path) -> None:
    """Load a file into a network, strictly."""
    if not path.is_file():
        raise WeightsError(f"there is no weights file {path}")
    try:
        with _quiet():
            open_clip.load_checkpoint(model, str(path), strict=True, weights_only=True)
    except Exception as error:  # of torch, safetensors, or names that the library does not expect
        read_weights(path)  # says what is wrong with the file itself, or why it is refused
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise WeightsError(
            f"weights from {shown_path(path)} do not fit {type(model).__name__}: {' '.join(lines[1:3]) or lines[:1]}; "
            "check the architecture"[:1000]
        ) from error


def _text_tower(open_clip: ModuleType, model: Any, source: _Source, dim: int) -> NetworkTextTower:
    try:
        with _quiet():
            tokenizer = open_clip.get_tokenizer(source.model)
    except Exception as error:  # of the hub, or of transformers
        raise WeightsError(
            f"the tokenizer of {source.name} cannot be loaded: {str(error).splitlines()[0]}; bring its files into the "
            "folder, or into the hub's cache"
        ) from error

    image, context = "visual.", int(tokenizer.context_length)
    weights = {
        name: tensor for name, tensor in model.state_dict().items() if not name.startswith((image, "text_decoder."))
    }
    return NetworkTextTower(
        dim=dim,
        weights=weights,
        logit_scale=learnt_scale(model.logit_scale),
        context_tokens=context,
        tokens=lambda text: tokenizer([text])[0].tolist(),
        count=token_counter(tokenizer, context),
        embed=lambda texts: model.encode_text(tokenizer(texts)),
    )


def token_counter(tokenizer: Callable[..., Any], context: int) -> Callable[[str], int]:
    """Counts the tokens of a text, those of its beginning and end included, by a tokenizer that pads and cuts off.

    Args:
        tokenizer: Takes texts and `context_length`, gives rows of so many tokens.
        context: Its own length of a row.
    """

    def tokens(text: str, length: int) -> list[int]:
        ids: list[int] = tokenizer([text], context_length=length)[0].tolist()
        return ids

    empty = tokens("", LONG_CONTEXT)
    after = int(empty[-1] != empty[-2])  # some put a token of the class behind the padding
    padding = empty[-1 - after]
    # Of a row without room for padding, the last token is that of the text's end. It may be the one that pads: then
    # the first of what looks like padding is the end.
    ends_as_padding = tokens("red " * context, context)[-1 - after] == padding

    def count(text: str) -> int:
        ids = tokens(text, LONG_CONTEXT)
        last = len(ids) - after
        while last and ids[last - 1] == padding:
            last -= 1
        return min(last + after + ends_as_padding, len(ids))

    return count
