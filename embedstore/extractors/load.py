"""Load an extractor from its configuration, or describe it without its weights."""

import dataclasses
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from embedstore.errors import ConfigError, ExtractorError, SlideError, UnknownExtractorError, WeightsError
from embedstore.extractors.catalogue import catalogue
from embedstore.extractors.config import TOWER_LIBRARIES, ExtractorConfig
from embedstore.extractors.custom import CustomNetwork, call_function, is_custom
from embedstore.extractors.extractor import Extractor
from embedstore.extractors.spec import ExtractorSpec
from embedstore.extractors.text_tower import FunctionTextTower
from embedstore.extractors.torch_runtime import resolve_device
from embedstore.uris import is_uri, shown_path

if TYPE_CHECKING:
    from embedstore.extractors.networks.weights_file import State

NEAR_NAMES = 3

log = logging.getLogger(__name__)


class ExtractorDescription(NamedTuple):
    """What tiling needs to know about an extractor; mpp is None where the user must state it."""

    name: str
    tile_px: int
    mpp: float | None


def describe_extractor(config: ExtractorConfig | str) -> ExtractorDescription:
    """Name, tile size and resolution of an extractor; weights of the catalogue's and timm's are not loaded.

    Raises:
        UnknownExtractorError, ConfigError, ExtractorError: as in `load_extractor`.
    """
    config = as_config(config)
    if is_custom(config.ref):
        result = call_function(config.ref, config.arch_args)
        if isinstance(result, Extractor):
            return ExtractorDescription(config.name or result.name, result.tile_px, result.mpp)
        spec, _ = _custom_spec(config, result)
    else:
        spec = resolve(config)
    return ExtractorDescription(spec.name, spec.tile_px, spec.mpp)


def embedding_dim(config: ExtractorConfig | str) -> int | None:
    """Length of an extractor's vectors, without its weights; None where only loading it can tell.

    Raises:
        UnknownExtractorError, ConfigError, ExtractorError: as in `load_extractor`.
    """
    config = as_config(config)
    if is_custom(config.ref) or config.ref.startswith(TOWER_LIBRARIES):
        return None
    spec = resolve(config)
    if spec.embedding_dim is not None or spec.kind != "timm":
        return spec.embedding_dim
    from embedstore.extractors.networks.network import dim_without_weights

    return dim_without_weights(spec)


def load_extractor(config: ExtractorConfig | str, *, device: str = "auto") -> Extractor:
    """Build an extractor and its weights on a device.

    Args:
        config: What to load; a string is a `ref` without overrides.
        device: `auto` (the first GPU, else the CPU), `cpu`, `cuda` or `cuda:N`.
    Raises:
        UnknownExtractorError: no extractor of that name.
        ConfigError: the extractor does not take an override.
        WeightsError: weights are missing, gated, or do not fit.
        DeviceError: the requested device does not exist.
    """
    config = as_config(config)
    if is_custom(config.ref):
        return _load_custom(config, device)
    if (towers := _two_towers(config)) is not None:
        return _load_two_towers(config, *towers, device=device)
    spec = resolve(config)
    if spec.kind == "builtin":
        return _load_builtin(spec, device)
    return _load_network(spec, config, device)


def may_have_text_tower(ref: str) -> bool:
    """Whether an extractor has a text tower, or is a user's function, which only loading it can tell."""
    entry = catalogue().get(ref)
    return is_custom(ref) or ref.startswith(TOWER_LIBRARIES) or (entry is not None and entry.has_text_tower)


def as_config(config: ExtractorConfig | str) -> ExtractorConfig:
    """A configuration; a string is a `ref` without overrides."""
    return ExtractorConfig(ref=config) if isinstance(config, str) else config


def resolve(config: ExtractorConfig) -> ExtractorSpec:
    """The facts of a catalogue or timm extractor, with the user's overrides; loads no weights and needs no network.

    Raises:
        UnknownExtractorError: neither the catalogue nor timm knows the name.
    """
    if config.ref in catalogue():
        return catalogue()[config.ref].with_overrides(config)
    if (towers := _two_towers(config)) is not None:
        return _tower_module(towers[0]).describe(config, towers[1])
    from embedstore.extractors.networks.architecture import is_timm_name, timm_spec

    name = config.ref.removeprefix("timm:")
    if not is_timm_name(name):
        raise _unknown(config.ref)
    return timm_spec(name, config.arch_args).with_overrides(config)


def _two_towers(config: ExtractorConfig) -> tuple[str, str] | None:
    """The library that builds a network with a text tower, and what it builds; None for other extractors."""
    library, _, source = config.ref.partition(":")
    if f"{library}:" in TOWER_LIBRARIES:
        return library, source
    entry = catalogue().get(config.ref)
    if entry is None or entry.kind not in ("open_clip", "transformers", "package"):
        return None
    if entry.kind == "package":
        raise ExtractorError(
            f"extractor {entry.name!r} is loaded by a package of its authors, which embedstore does not install or run "
            f"by itself: {entry.note} Write a function that returns both towers, as docs/words.md shows, and name it "
            "as file.py:function"
        )
    if config.weights and Path(config.weights).is_dir():
        return entry.kind, config.weights
    return entry.kind, f"hf-hub:{entry.hub_id}" if entry.kind == "open_clip" else str(entry.hub_id)


def _tower_module(library: str) -> Any:
    if library == "open_clip":
        from embedstore.extractors.networks import open_clip_towers

        return open_clip_towers
    from embedstore.extractors.networks import transformers_towers

    return transformers_towers


def _load_two_towers(config: ExtractorConfig, library: str, source: str, *, device: str) -> Extractor:
    entry = catalogue().get(config.ref)
    if entry is not None:
        weights = None if source == config.weights else config.weights
        config = dataclasses.replace(
            config, name=config.name or entry.name, mpp=config.mpp or entry.mpp, weights=weights,
            precision=config.precision or entry.precision,
        )  # fmt: skip
    extractor = _tower_module(library).load(config, source, device=resolve_device(device))
    if entry is not None:
        extractor.spec = dataclasses.replace(extractor.spec, licence=entry.licence, gated=entry.gated)
    return cast(Extractor, extractor)


def _unknown(ref: str) -> UnknownExtractorError:
    import difflib

    near = difflib.get_close_matches(ref.lower(), catalogue(), n=NEAR_NAMES, cutoff=0.5)
    hint = f"; did you mean {' or '.join(near)}?" if near else ";"
    return UnknownExtractorError(
        f"no extractor is called {ref!r}{hint} `embedstore extractors` lists the catalogue; any timm name works too, "
        "and a function of your own as module:function or path/to/file.py:function"
    )


def _load_builtin(spec: ExtractorSpec, device: str) -> Extractor:
    if spec.arch == "colour-12":  # on the CPU, without torch, whose import takes 3 CPU-seconds
        from embedstore.extractors.builtin.colour_statistics import ColourStatistics

        return ColourStatistics(name=spec.name, tile_px=spec.tile_px, mpp=spec.mpp)
    from embedstore.extractors.builtin.stain_texture import StainTexture

    return StainTexture(name=spec.name, tile_px=spec.tile_px, mpp=spec.mpp, device=resolve_device(device))


def _load_network(spec: ExtractorSpec, config: ExtractorConfig, device: str) -> Extractor:
    import torch

    from embedstore.extractors.networks.architecture import create_network
    from embedstore.extractors.networks.network import NetworkExtractor
    from embedstore.extractors.networks.weights import find_weights, fit_weights
    from embedstore.extractors.networks.weights_file import read_weights

    torch_device = resolve_device(device)
    if config.random_seed is not None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.random_seed)
            network = create_network(spec.arch, spec.arch_args, pooling=spec.pooling)
        spec = dataclasses.replace(
            spec, source=f"random weights, seed {config.random_seed}", hub_id=None, hub_file=None
        )
        return NetworkExtractor(spec, network, device=torch_device)
    path = Path(config.weights) if config.weights else find_weights(spec)
    state = _tensors(config.weights) if config.weights else read_weights(path)
    network = create_network(spec.arch, spec.arch_args, pooling=spec.pooling)
    taken = fit_weights(network, state, weights_format=spec.weights_format, source=shown_path(path))
    if config.weights:
        spec = dataclasses.replace(spec, source=_source(path, taken), hub_id=None, hub_file=None)
    return NetworkExtractor(spec, network, device=torch_device)


def _tensors(weights: str) -> "State":
    """The tensors of a file, or of an object, which the workers of a machine fetch once.

    Raises:
        WeightsError: there is none, or it holds something else.
    """
    from embedstore.extractors.networks.weights_file import read_weights

    if not is_uri(weights):
        return read_weights(Path(weights))
    from embedstore.slides import local_copy  # here: extractors need nothing else of it

    try:
        with local_copy(weights) as copy:
            return read_weights(Path(copy.path))
    except SlideError as error:
        raise WeightsError(f"weights {weights} cannot be read: {error}") from error


def _source(path: Path, taken: str) -> str:
    """Where weights come from, as the collection's record says it; a choice that was made is also told at once."""
    if not taken:
        return f"file:{path.name}"
    log.warning("%s: %s", path, taken)
    return f"file:{path.name} ({taken})"


def _load_custom(config: ExtractorConfig, device: str) -> Extractor:
    from embedstore.extractors.networks.network import NetworkExtractor
    from embedstore.extractors.networks.weights import fit_weights

    torch_device = resolve_device(device)
    result = call_function(config.ref, config.arch_args)
    if isinstance(result, Extractor):
        return _checked(result, config)
    spec, custom = _custom_spec(config, result)
    if config.random_seed is not None:
        raise ConfigError(f"extractor {config.ref!r} makes its own weights; leave out weights={config.weights!r}")
    if config.weights:
        path = Path(config.weights)
        taken = fit_weights(custom.module, _tensors(config.weights), weights_format="exact", source=shown_path(path))
        spec = dataclasses.replace(spec, source=_source(path, taken))
    extractor = NetworkExtractor(spec, custom.module, device=torch_device, embed=custom.embed)
    extractor.text_tower = _custom_text_tower(config, custom, dim=extractor.dim)
    return extractor


def _custom_text_tower(config: ExtractorConfig, custom: CustomNetwork, *, dim: int) -> FunctionTextTower | None:
    """The text tower of a user's network; None where it has none."""
    from embedstore.extractors.torch_extractor import sha256_of_tensors

    if custom.embed_text is None:
        return None
    if custom.text_module is None:
        raise ExtractorError(
            f"extractor {config.ref!r} has embed_text and no text_module; give the network behind embed_text, whose "
            "tensors make the digest of the text tower"
        )
    custom.text_module.eval().requires_grad_(False)
    return FunctionTextTower(
        custom.embed_text,
        dim=dim,
        digest=sha256_of_tensors(dict(custom.text_module.state_dict()), f"text of {custom.name}"),
        logit_scale=custom.logit_scale,
    )


def _custom_spec(config: ExtractorConfig, result: object) -> tuple[ExtractorSpec, CustomNetwork]:
    from torch import nn

    custom = CustomNetwork(module=result) if isinstance(result, nn.Module) else result
    if not isinstance(custom, CustomNetwork):
        raise ExtractorError(
            f"extractor {config.ref!r} returned a {type(result).__name__}; expected an Extractor, a CustomNetwork, "
            "or a torch module"
        )
    tile_px = config.tile_px or custom.tile_px
    if tile_px is None:
        raise ConfigError(f"extractor {config.ref!r} does not state which tiles it takes; give tile_px (and mpp)")
    spec = ExtractorSpec(
        name=config.name or custom.name or config.ref.rpartition(":")[2],
        kind="custom",
        source=f"file:{Path(config.weights).name}" if config.weights else "function",
        # The same file in another folder is the same extractor: only the name of a file is kept.
        arch=f"{Path(config.ref.rpartition(':')[0]).name}:{config.ref.rpartition(':')[2]}",
        tile_px=tile_px,
        mpp=custom.mpp,
        mean=custom.mean or (0.0, 0.0, 0.0),
        std=custom.std or (1.0, 1.0, 1.0),
        pooling=custom.pooling,
        precision=custom.precision,
        licence=custom.licence,
    )
    return spec.with_overrides(config), custom


def _checked(extractor: Extractor, config: ExtractorConfig) -> Extractor:
    """Check an extractor from a user's function: it has all attributes, and the configuration overrides none."""
    missing = [name for name in ("name", "dim", "tile_px", "mpp", "digest") if not hasattr(extractor, name)]
    if missing:
        raise ExtractorError(f"extractor {config.ref!r} lacks {', '.join(missing)}")
    overrides = [
        field.name
        for field in dataclasses.fields(config)
        if field.name not in ("ref", "name", "arch_args")
        and getattr(config, field.name) is not None
        # What a collection's record says of it is no override.
        and not (field.name == "precision" and config.precision == extractor.record().get("precision"))
    ]
    if overrides:
        raise ConfigError(
            f"extractor {config.ref!r} makes its own Extractor, which embedstore cannot change; leave out "
            f"{', '.join(overrides)}, or pass them to its function (arch_args)"
        )
    if config.name:
        extractor.name = config.name
    if (embed_text := getattr(extractor, "embed_text", None)) is not None and extractor.text_tower is None:
        digest = getattr(extractor, "text_digest", None)
        if not isinstance(digest, str):
            raise ExtractorError(
                f"extractor {config.ref!r} has embed_text and no text_digest; expected a text that changes with the "
                "weights and tokens of its text tower"
            )
        extractor.text_tower = FunctionTextTower(
            embed_text, dim=extractor.dim, digest=digest, logit_scale=getattr(extractor, "logit_scale", None)
        )
    return extractor
