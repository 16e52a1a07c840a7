"""Trained weights: find them, read a file, and load it into a network strictly."""

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from embedstore.errors import WeightsError
from embedstore.extractors.networks.transformers_layout import from_transformers, resample_positions
from embedstore.extractors.spec import ExtractorSpec

State = dict[str, Tensor]
# Names of the weights' file in the hub's repositories of timm and transformers networks, in order of preference.
HUB_FILES = ("model.safetensors", "pytorch_model.bin")
CLASSIFIERS = ("classifier", "fc", "head", "head.fc", "head_dist")
WRAPPERS = ("state_dict", "model", "teacher", "model_state_dict")  # keys under which training scripts nest the weights
PREFIXES = ("_orig_mod.", "module.", "backbone.")
MAX_KEYS_SHOWN = 8


def find_weights(spec: ExtractorSpec) -> Path:
    """The file of an extractor's published weights: from the hub's cache, else downloaded.

    Raises:
        WeightsError: there are none, they are gated, or the hub cannot be reached; the message names the file to bring.
    """
    if spec.hub_id is None:
        raise WeightsError(
            f"extractor {spec.name!r} has no weights on the hub; pass a file with --weights FILE"
            f"{', or ask for untrained ones with --weights random' if spec.kind == 'timm' else ''}"
        )
    import huggingface_hub

    files = (spec.hub_file,) if spec.hub_file else HUB_FILES
    for file in files:
        cached = huggingface_hub.try_to_load_from_cache(spec.hub_id, file)
        if isinstance(cached, str):
            return Path(cached)
    return _download(spec, spec.hub_id, files)


def _download(spec: ExtractorSpec, hub_id: str, files: tuple[str, ...]) -> Path:
    import huggingface_hub
    from huggingface_hub import errors

    if huggingface_hub.constants.HF_HUB_OFFLINE:
        raise WeightsError(
            f"{_absent(spec, files)} HF_HUB_OFFLINE is set, so the hub was not asked. {_bring_file(spec)}"
        )
    last_error: Exception | None = None
    for file in files:
        try:
            return Path(huggingface_hub.hf_hub_download(hub_id, file))
        except errors.GatedRepoError as error:
            raise WeightsError(
                f"{_absent(spec, files)} The weights are gated: accept their licence at {_page(hub_id)}, then log in "
                f"with `hf auth login` or set HF_TOKEN. {_bring_file(spec)}"
            ) from error
        except errors.EntryNotFoundError as error:
            last_error = error
            if isinstance(error, errors.LocalEntryNotFoundError):
                break  # the hub cannot be reached; the other file would fail likewise
        except errors.RepositoryNotFoundError as error:
            raise WeightsError(
                f"{_absent(spec, files)} The hub shows no such repository; it may need a login. {_bring_file(spec)}"
            ) from error
        except Exception as error:  # of any HTTP library that the hub's client may use
            last_error = error
            break
    raise WeightsError(
        f"{_absent(spec, files)} The hub did not deliver them: {str(last_error).rstrip('.')}. {_bring_file(spec)}"
    ) from last_error


def _page(hub_id: str) -> str:
    return f"https://huggingface.co/{hub_id}"


def _absent(spec: ExtractorSpec, files: tuple[str, ...]) -> str:
    return f"no weights of extractor {spec.name!r} ({spec.hub_id}: {' or '.join(files)}) are in {_cache_folder()}."


def _cache_folder() -> str:
    from huggingface_hub import constants

    return f"the hub's cache {constants.HF_HUB_CACHE}"


def _bring_file(spec: ExtractorSpec) -> str:
    gated = " (gated: it needs an account that was granted access)" if spec.gated else ""
    return (
        f"On a machine with network{gated}: `hf download {spec.hub_id} {spec.hub_file or HUB_FILES[0]}`; bring the "
        "file and pass it with --weights FILE, or copy the cache folder and set HF_HUB_CACHE to it"
    )


def read_weights(path: Path) -> State:
    """The tensors of a `.safetensors` file, or of a torch file that holds nothing but tensors.

    Raises:
        WeightsError: no such file, or a file of another kind.
    """
    if not path.is_file():
        raise WeightsError(f"there is no weights file {path}; expected a .safetensors, .pt, .pth or .bin file")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise WeightsError(
            f"weights file {path} cannot be read: {error}; expected .safetensors, or a torch file that holds only "
            "tensors (it is read with weights_only=True, since a pickle can run code)"
        ) from error
    return _unwrapped(loaded, path)


def _unwrapped(loaded: Any, path: Path) -> State:
    while isinstance(loaded, Mapping):
        if loaded and all(isinstance(value, Tensor) for value in loaded.values()):
            return dict(loaded)
        inner = [key for key in WRAPPERS if isinstance(loaded.get(key), Mapping)]
        if not inner:
            break
        loaded = loaded[inner[0]]
    raise WeightsError(
        f"weights file {path} holds no state dict; expected a mapping of names to tensors, bare or under one of "
        f"{', '.join(WRAPPERS)}"
    )


def fit_weights(network: nn.Module, state: State, *, weights_format: str, source: str) -> None:
    """Load a file's tensors into a network; every tensor on either side must have its counterpart.

    Args:
        weights_format: `timm`: as timm publishes it or converts it itself; `transformers`: Dinov2 and ViT of Hugging
            Face transformers (a file that already has timm's names is loaded as it is); `exact`: the network's own
            names.
        source: Where the tensors are from, for messages.
    Raises:
        WeightsError: tensors are missing, unexpected, or of another shape; the message lists them. Only a classifier
            that the network does not have is dropped.
    """
    state = {_without_prefix(name): tensor for name, tensor in state.items()}
    if weights_format == "transformers" and not any(name.startswith("blocks.") for name in state):
        state = resample_positions(from_transformers(state), network.get_parameter("pos_embed").shape[1])
    if weights_format != "exact":
        timm_filter = getattr(sys.modules[type(network).__module__], "checkpoint_filter_fn", None)
        state = timm_filter(state, network) if timm_filter else state
    expected = network.state_dict()
    state = {name: tensor for name, tensor in state.items() if name in expected or not _is_classifier(name)}
    missing = sorted(expected.keys() - state.keys())
    # A counter that evaluation never reads; files that were converted from other frameworks lack it.
    missing = [name for name in missing if not name.endswith("num_batches_tracked")]
    unexpected = sorted(state.keys() - expected.keys())
    other_shape = [
        f"{name} {tuple(state[name].shape)} for {tuple(expected[name].shape)}"
        for name in sorted(expected.keys() & state.keys())
        if state[name].shape != expected[name].shape
    ]
    problems = [
        f"{len(names)} {what}: {', '.join(names[:MAX_KEYS_SHOWN])}{', …' if len(names) > MAX_KEYS_SHOWN else ''}"
        for what, names in (("missing", missing), ("unexpected", unexpected), ("of another shape", other_shape))
        if names
    ]
    if problems:
        raise WeightsError(
            f"weights from {source} do not fit {type(network).__name__}: {'; '.join(problems)}. "
            "Check the architecture and its arguments (arch_args)"
        )
    network.load_state_dict(state, strict=False)


def _without_prefix(name: str) -> str:
    for prefix in PREFIXES:
        name = name.removeprefix(prefix)
    return name


def _is_classifier(name: str) -> bool:
    return re.sub(r"\.(weight|bias)$", "", name) in CLASSIFIERS
