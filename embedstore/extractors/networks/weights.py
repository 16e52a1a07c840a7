"""Trained weights: find them, and load a file's tensors into a network strictly."""

import re
import sys
from collections import Counter
from pathlib import Path

import torch
from torch import nn

from embedstore.errors import WeightsError
from embedstore.extractors.networks.transformers_layout import from_transformers, resample_positions
from embedstore.extractors.networks.weights_file import State
from embedstore.extractors.spec import ExtractorSpec
from embedstore.quantities import first_few

# Names of the weights' file in the hub's repositories of timm and transformers networks, in order of preference.
HUB_FILES = ("model.safetensors", "pytorch_model.bin")
CLASSIFIERS = ("classifier", "fc", "head", "head.fc", "head_dist")
# Names that compilers and wrappers of torch put anywhere in a tensor's name.
WRAPPED = re.compile(r"\b(_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
# Of two networks that were trained side by side, the one whose authors use it: averaged over the training.
FOR_USE = ("teacher", "teacher_model", "model_ema", "ema", "ema_model", "encoder_q")
# Of a training script, beside its networks.
NOT_OF_NETWORKS = {"optimizer", "optimizer_states", "lr_schedulers", "scheduler", "scaler", "callbacks"}
MAX_DEPTH = 4  # of a prefix: state_dict.model.teacher.backbone.
ENOUGH = 0.3  # of the network's tensors; other layouts have fewer of them
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


def fit_weights(network: nn.Module, state: State, *, weights_format: str, source: str) -> str:
    """Load a file's tensors into a network; every tensor on either side must have its counterpart.

    Where a prefix of names (`model.encoder.`, `teacher.backbone.`) explains all of the network, the tensors below it
    are taken, and others are left out: a training script's heads, losses and second networks.

    Args:
        network: The network.
        state: The tensors.
        weights_format: `timm`: as timm publishes it or converts it itself; `transformers`: Dinov2 and ViT of Hugging
            Face transformers (a file that already has timm's names is loaded as it is); `exact`: the network's own
            names.
        source: Where the tensors are from, for messages.
    Returns:
        What was taken and what was left out, for the user; '' where there was no choice.
    Raises:
        WeightsError: tensors are missing, unexpected, or of another shape, and the message lists them; or several
            prefixes explain the network. Only a classifier that the network does not have is dropped.
    """
    state = {WRAPPED.sub("", name): tensor for name, tensor in state.items()}
    expected = network.state_dict()
    fits: dict[str, State] = {}
    misfits: list[tuple[int, str]] = []
    for prefix in _prefixes(state, len(expected)):
        part = {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
        below = f" (below {prefix!r})" if prefix else ""
        try:
            part = _converted(part, network, weights_format)
        except WeightsError as error:
            misfits.append((len(expected), f"{error}{below}"))
            continue
        except Exception as error:  # of timm's conversions, on names that they do not expect
            misfits.append((len(expected), f"{type(error).__name__}: {error}{below}"))
            continue
        part = {name: tensor for name, tensor in part.items() if name in expected or not _is_classifier(name)}
        count, problems = _problems(part, expected)
        if not problems:
            fits[prefix] = part
            if not prefix:
                break
        else:
            misfits.append((count, f"{problems}{below}"))
    if not fits:
        least = min(misfits, key=lambda misfit: misfit[0])[1]
        raise WeightsError(
            f"weights from {source} do not fit {type(network).__name__}: {least}. "
            "Check the architecture and its arguments (arch_args)"
        )
    prefix = _chosen(fits, source)
    network.load_state_dict(fits[prefix], strict=False)
    others = {_branch(name, prefix) for name in state if not name.startswith(prefix)} - NOT_OF_NETWORKS
    return f"the weights below {prefix!r}, without {', '.join(sorted(others)[:MAX_KEYS_SHOWN])}" if others else ""


def _branch(name: str, prefix: str) -> str:
    """The part of a name at which it leaves a prefix."""
    parts = zip(name.split("."), prefix.split("."), strict=False)
    return next(part for part, of_prefix in parts if part != of_prefix)


def _prefixes(state: State, tensors: int) -> list[str]:
    """Prefixes of names below which there may be a whole network, the shortest first."""
    counts = Counter("")
    for name in state:
        parts = name.split(".")
        counts.update({".".join([*parts[:depth], ""]) for depth in range(1, min(len(parts), MAX_DEPTH + 1))})
    large = [prefix for prefix, count in counts.items() if count >= tensors * ENOUGH]
    return ["", *sorted(large, key=lambda prefix: (prefix.count("."), prefix))]


def _converted(state: State, network: nn.Module, weights_format: str) -> State:
    if weights_format == "transformers" and not any(name.startswith("blocks.") for name in state):
        state = resample_positions(from_transformers(state), network.get_parameter("pos_embed").shape[1])
    if weights_format != "exact":
        timm_filter = getattr(sys.modules[type(network).__module__], "checkpoint_filter_fn", None)
        state = timm_filter(state, network) if timm_filter else state
    return state


def _problems(state: State, expected: State) -> tuple[int, str]:
    """How many tensors are missing, unexpected or of another shape, and which."""
    missing = sorted(expected.keys() - state.keys())
    # A counter that evaluation never reads; files that were converted from other frameworks lack it.
    missing = [name for name in missing if not name.endswith("num_batches_tracked")]
    unexpected = sorted(state.keys() - expected.keys())
    other_shape = [
        f"{name} {tuple(state[name].shape)} for {tuple(expected[name].shape)}"
        for name in sorted(expected.keys() & state.keys())
        if state[name].shape != expected[name].shape
    ]
    lists = ((missing, "missing"), (unexpected, "unexpected"), (other_shape, "of another shape"))
    texts = [f"{len(names)} {what}: {first_few(names, MAX_KEYS_SHOWN)}" for names, what in lists if names]
    return len(missing) + len(unexpected) + len(other_shape), "; ".join(texts)


def _chosen(fits: dict[str, State], source: str) -> str:
    """The prefix to take: the only one, one of equal tensors, or that of the network that is meant for use."""
    first, *others = fits
    if all(_equal(fits[first], fits[other]) for other in others):
        return first
    for name in FOR_USE:
        named = [prefix for prefix in fits if name in prefix.split(".")]
        if len(named) == 1:
            return named[0]
    raise WeightsError(
        f"weights from {source} hold several networks that fit, below {', '.join(map(repr, fits))}; save the one that "
        "you mean as a file of its own"
    )


def _equal(one: State, other: State) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def _is_classifier(name: str) -> bool:
    return re.sub(r"\.(weight|bias)$", "", name) in CLASSIFIERS
