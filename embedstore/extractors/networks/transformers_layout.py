"""Weights in the layout of Hugging Face transformers (ViT, Dinov2, Dinov2 with registers) for timm's ViT."""

import math
import re

import torch
from torch import Tensor, nn

from embedstore.errors import WeightsError

State = dict[str, Tensor]

# Names of transformers → timm inside a block: first those of older ViTs, then those of Dinov2.
IN_BLOCK = {
    "layernorm_before": "norm1",
    "layernorm_after": "norm2",
    "intermediate.dense": "mlp.fc1",
    "output.dense": "mlp.fc2",
    "attention.output.dense": "attn.proj",
    "layer_scale1.lambda1": "ls1.gamma",
    "layer_scale2.lambda1": "ls2.gamma",
    "mlp.weights_in": "mlp.fc1",  # SwiGLU: both halves in one matrix, the gated one first, as in timm's SwiGLUPacked
    "mlp.weights_out": "mlp.fc2",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
    "norm1": "norm1",
    "norm2": "norm2",
}
OUTSIDE = {
    "embeddings.cls_token": "cls_token",
    "embeddings.position_embeddings": "pos_embed",
    "embeddings.register_tokens": "reg_token",
    "embeddings.patch_embeddings.projection.weight": "patch_embed.proj.weight",
    "embeddings.patch_embeddings.projection.bias": "patch_embed.proj.bias",
    "layernorm.weight": "norm.weight",
    "layernorm.bias": "norm.bias",
}
# Of pre-training only: the mask token, and a pooler that transformers adds to a ViT by default.
UNUSED = ("embeddings.mask_token", "pooler.dense.weight", "pooler.dense.bias")
BLOCK = re.compile(r"(?:encoder\.)?layer\.(\d+)\.(.+)")
QKV = re.compile(r"attention\.attention\.(query|key|value)\.(weight|bias)")


def from_transformers(state: State) -> State:
    """Convert a state dict to timm's names, and join each block's query, key and value into timm's one matrix.

    In a network with registers timm keeps positions of patches only, so the class token's position is added to the
    class token, as transformers does in every forward pass.

    Raises:
        WeightsError: a name of neither layout.
    """
    state = {re.sub(r"^(vit|dinov2|model)\.", "", name): tensor for name, tensor in state.items()}
    converted: State = {}
    parts: dict[tuple[str, str], dict[str, Tensor]] = {}  # (block, weight|bias) → query, key, value
    for name, tensor in state.items():
        block = BLOCK.fullmatch(name)
        if name in UNUSED:
            continue
        if name in OUTSIDE:
            converted[OUTSIDE[name]] = tensor
        elif block is None:
            raise _unknown(name)
        elif qkv := QKV.fullmatch(block[2]):
            parts.setdefault((block[1], qkv[2]), {})[qkv[1]] = tensor
        else:
            converted[f"blocks.{block[1]}.{_in_block(block[2])}"] = tensor
    for (number, kind), qkv_parts in parts.items():
        converted[f"blocks.{number}.attn.qkv.{kind}"] = torch.cat([qkv_parts[p] for p in ("query", "key", "value")])
    if "reg_token" in converted and "pos_embed" in converted:
        positions = converted["pos_embed"]
        converted["cls_token"] = converted["cls_token"] + positions[:, :1]
        converted["pos_embed"] = positions[:, 1:]
    return converted


def resample_positions(state: State, tokens: int) -> State:
    """Fit learnt positions to another grid of patches as transformers does: bicubic, without anti-aliasing.

    timm would resample with anti-aliasing, which gives other embeddings where the grid gets coarser.

    Args:
        state: In timm's layout.
        tokens: How many positions the network has, the class token's included where there is one.
    """
    positions = state.get("pos_embed")
    if positions is None or positions.shape[1] == tokens:
        return state
    prefix = 0 if "reg_token" in state else 1
    old, new = math.isqrt(positions.shape[1] - prefix), math.isqrt(tokens - prefix)
    grid = positions[:, prefix:].float().reshape(1, old, old, -1).permute(0, 3, 1, 2)
    grid = nn.functional.interpolate(grid, size=(new, new), mode="bicubic", align_corners=False)
    resampled = grid.permute(0, 2, 3, 1).flatten(1, 2)
    return {**state, "pos_embed": torch.cat([positions[:, :prefix].float(), resampled], dim=1)}


def _in_block(name: str) -> str:
    stem, dot, kind = name.rpartition(".")
    if name in IN_BLOCK:
        return IN_BLOCK[name]
    if stem in IN_BLOCK and dot:
        return f"{IN_BLOCK[stem]}.{kind}"
    raise _unknown(name)


def _unknown(name: str) -> WeightsError:
    return WeightsError(f"tensor {name!r} is not of a transformers ViT or Dinov2; pass the weights in timm's layout")
