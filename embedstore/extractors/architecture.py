"""Build a timm network, without weights, from a name and JSON-able arguments."""

from collections.abc import Mapping
from types import ModuleType
from typing import Any

from torch import nn

from embedstore.errors import ConfigError, UnknownExtractorError
from embedstore.extractors.torchvision_ops import define_missing_operators


def import_timm() -> ModuleType:
    """timm, also where torchvision's operators do not load."""
    define_missing_operators()
    import timm

    return timm


def is_timm_name(name: str) -> bool:
    """Whether timm has an architecture of that name; a tag of weights (`.a1_in1k`) may follow it."""
    return bool(import_timm().is_model(name.split(".")[0]))


def create_network(arch: str, arch_args: Mapping[str, Any], *, pooling: str) -> nn.Module:
    """A timm network without a classifier and without trained weights.

    Args:
        arch: timm's name.
        arch_args: For `timm.create_model`; layers are named by strings (`mlp_layer="SwiGLUPacked"`).
        pooling: Anything but `network` makes it return its tokens.
    Raises:
        UnknownExtractorError: timm has no such architecture.
        ConfigError: the architecture does not take these arguments.
    """
    timm = import_timm()
    if not is_timm_name(arch):
        raise UnknownExtractorError(f"timm {timm.__version__} has no architecture {arch!r}")
    arguments = {"num_classes": 0, **{name: _layer(name, value) for name, value in arch_args.items()}}
    if pooling != "network":
        arguments["global_pool"] = ""
    try:
        return timm.create_model(arch, pretrained=False, **arguments)
    except TypeError as error:
        raise ConfigError(f"architecture {arch!r} does not take the arguments {dict(arch_args)}: {error}") from error


def _layer(name: str, value: Any) -> Any:
    if name == "embed_layer" and value == "ConvStem":
        from embedstore.extractors.conv_stem import ConvStem

        return ConvStem
    if name == "mlp_layer" and isinstance(value, str):
        layers = import_timm().layers
        if not hasattr(layers, value):
            raise ConfigError(f"mlp_layer is {value!r}; expected the name of a layer of timm.layers")
        return getattr(layers, value)
    return value


def timm_facts(name: str, arch_args: Mapping[str, Any]) -> dict[str, Any]:
    """What timm knows of the weights of a name: where they are, their input and normalisation."""
    from timm.models import get_pretrained_cfg

    try:
        cfg = get_pretrained_cfg(name)
    except RuntimeError as error:
        raise UnknownExtractorError(f"timm knows no weights {name!r}: {error}; drop the tag after the dot") from error
    if cfg is None:
        raise UnknownExtractorError(f"timm publishes no input size of {name!r}; write a function that returns it")
    input_px = int(cfg.input_size[-1])
    # Networks of a fixed input (ViTs with absolute positions) see that input; the others take a tile as it is.
    img_size = arch_args.get("img_size")
    fixed = bool(cfg.fixed_input_size) and not arch_args.get("dynamic_img_size")
    return {
        "hub_id": cfg.hf_hub_id,
        "hub_file": cfg.hf_hub_filename,
        "tile_px": int(img_size or input_px),
        "input_px": int(img_size or input_px) if fixed else None,
        "mean": tuple(cfg.mean),
        "std": tuple(cfg.std),
        "licence": cfg.license,
        "gated": False if cfg.hf_hub_id else None,
    }
