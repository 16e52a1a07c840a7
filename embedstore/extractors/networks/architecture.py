"""Build a timm network, without weights, from a name and JSON-able arguments."""

import importlib
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from torch import Tensor, nn
from torch.library import Library

from embedstore.errors import ConfigError, UnknownExtractorError
from embedstore.extractors.config import checked_rgb
from embedstore.extractors.spec import ExtractorSpec

PATCH_PX = 4  # of ConvStem: two convolutions of stride 2
#: Operators for which torchvision registers fake kernels on import.
TORCHVISION_OPERATORS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_torchvision_operators = Library("torchvision", "FRAGMENT")  # torch takes definitions back when this object dies


def import_timm() -> ModuleType:
    """Import timm, even where torchvision's compiled operators do not load.

    A CPU-only torch may be installed beside a torchvision that is linked against CUDA. `import torchvision`, hence
    `import timm`, then ends with `RuntimeError: operator torchvision::nms does not exist`, although timm's networks
    never call these operators. Defining them without a body is enough, once torchvision has tried to load its own:
    defining an operator twice is an error.
    """
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if "operator torchvision::" not in str(error):
            raise
        for schema in TORCHVISION_OPERATORS:
            _torchvision_operators.define(schema)
    import timm

    return timm


def is_timm_name(name: str) -> bool:
    """Whether timm has an architecture of that name, with or without a tag of weights (`.a1_in1k`)."""
    return bool(import_timm().is_model(name.split(".")[0]))


def create_network(arch: str, arch_args: Mapping[str, Any], *, pooling: str) -> nn.Module:
    """A timm network without a classifier and without trained weights.

    Args:
        arch: timm's name.
        arch_args: For `timm.create_model`; layers are named by strings (`mlp_layer="SwiGLUPacked"`).
        pooling: With anything but `network` it returns its tokens.
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
        return ConvStem
    if name == "mlp_layer" and isinstance(value, str):
        layers = import_timm().layers
        if not hasattr(layers, value):
            raise ConfigError(f"mlp_layer is {value!r}; expected the name of a layer of timm.layers")
        return getattr(layers, value)
    return value


def timm_spec(name: str, arch_args: Mapping[str, Any]) -> ExtractorSpec:
    """What timm publishes about a name: where its weights are, its input size and its normalisation.

    Raises:
        UnknownExtractorError: timm knows no such weights, or no input size.
    """
    from timm.models import get_pretrained_cfg

    try:
        cfg = get_pretrained_cfg(name)
    except RuntimeError as error:
        raise UnknownExtractorError(f"timm knows no weights {name!r}: {error}; drop the tag after the dot") from error
    if cfg is None:
        raise UnknownExtractorError(f"timm publishes no input size of {name!r}; write a function that returns it")
    # Networks of a fixed input (ViTs with absolute positions) see that input; the others take a tile as it is.
    input_px = int(arch_args.get("img_size") or cfg.input_size[-1])
    fixed_input = bool(cfg.fixed_input_size) and not arch_args.get("dynamic_img_size")
    return ExtractorSpec(
        name=name,
        kind="timm",
        source=f"timm:{name}",
        arch=name,
        hub_id=cfg.hf_hub_id,
        hub_file=cfg.hf_hub_filename,
        tile_px=input_px,
        input_px=input_px if fixed_input else None,
        mean=checked_rgb(cfg.mean, "mean"),
        std=checked_rgb(cfg.std, "std"),
        licence=cfg.license,
        gated=False if cfg.hf_hub_id else None,
    )


class ConvStem(nn.Module):
    """Two 3×3 convolutions of stride 2 and a 1×1 projection, from pixels to a grid of tokens.

    The patch embedding of CTransPath (Wang et al., Medical Image Analysis 2022), in place of a Swin Transformer's own;
    its parameters have the names of the published file. Takes (n, 3, h, w) and returns (n, h/4, w/4, embed_dim), the
    layout of timm's Swin Transformer.
    """

    def __init__(
        self,
        img_size: int | tuple[int, int] = 224,
        patch_size: int = PATCH_PX,
        in_chans: int = 3,
        embed_dim: int = 96,
        norm_layer: Any = None,
        **ignored: Any,  # timm hands every patch embedding the same arguments
    ) -> None:
        super().__init__()
        height, width = (img_size, img_size) if isinstance(img_size, int) else img_size
        self.img_size, self.patch_size = (height, width), (patch_size, patch_size)
        self.grid_size = (height // PATCH_PX, width // PATCH_PX)
        layers: list[nn.Module] = []
        width = in_chans
        for step in (8, 4):
            layers += [nn.Conv2d(width, embed_dim // step, 3, stride=2, padding=1, bias=False)]
            layers += [nn.BatchNorm2d(embed_dim // step), nn.ReLU(inplace=True)]
            width = embed_dim // step
        self.proj = nn.Sequential(*layers, nn.Conv2d(width, embed_dim, 1))
        self.norm = norm_layer(embed_dim) if norm_layer else nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        return self.norm(self.proj(images).permute(0, 2, 3, 1))
