"""Weights in transformers' layout give, in timm's network, what transformers' own arithmetic gives.

transformers is no dependency, so its forward pass (modeling_vit, modeling_dinov2) is written out here, from its names.
"""

import math

import pytest
import torch
from torch.nn import functional as F

from embedstore.errors import WeightsError
from embedstore.extractors.networks.architecture import create_network
from embedstore.extractors.networks.transformers_layout import from_transformers, resample_positions
from embedstore.extractors.networks.weights import fit_weights

DIM, DEPTH, HEADS, PATCH_PX, EDGE_PX = 24, 2, 3, 8, 32
PATCHES = (EDGE_PX // PATCH_PX) ** 2


def random_state(kind: str, patches: int = PATCHES) -> dict[str, torch.Tensor]:
    """Weights under transformers' names: `vit`, `dinov2`, `swiglu` or `registers`."""
    torch.manual_seed(0)
    shapes = {
        "embeddings.cls_token": (1, 1, DIM),
        "embeddings.position_embeddings": (1, 1 + patches, DIM),
        "embeddings.patch_embeddings.projection.weight": (DIM, 3, PATCH_PX, PATCH_PX),
        "embeddings.patch_embeddings.projection.bias": (DIM,),
        "layernorm.weight": (DIM,),
        "layernorm.bias": (DIM,),
    }
    if kind != "vit":
        shapes["embeddings.mask_token"] = (1, DIM)
    if kind == "registers":
        shapes["embeddings.register_tokens"] = (1, 4, DIM)
    norms = ("layernorm_before", "layernorm_after") if kind == "vit" else ("norm1", "norm2")
    mlp = {
        "vit": (("intermediate.dense", 4 * DIM, DIM), ("output.dense", DIM, 4 * DIM)),
        "swiglu": (("mlp.weights_in", 8 * DIM, DIM), ("mlp.weights_out", DIM, 4 * DIM)),
    }.get(kind, (("mlp.fc1", 4 * DIM, DIM), ("mlp.fc2", DIM, 4 * DIM)))
    for block in range(DEPTH):
        prefix = f"encoder.layer.{block}."
        for norm in norms:
            shapes |= {f"{prefix}{norm}.weight": (DIM,), f"{prefix}{norm}.bias": (DIM,)}
        attention = [f"attention.attention.{part}" for part in ("query", "key", "value")] + ["attention.output.dense"]
        for name, rows, columns in [*[(part, DIM, DIM) for part in attention], *mlp]:
            shapes |= {f"{prefix}{name}.weight": (rows, columns), f"{prefix}{name}.bias": (rows,)}
        if kind != "vit":
            shapes |= {f"{prefix}layer_scale{i}.lambda1": (DIM,) for i in (1, 2)}
    return {name: torch.randn(shape) * 0.3 for name, shape in shapes.items()}


def reference(state: dict[str, torch.Tensor], kind: str, images: torch.Tensor) -> torch.Tensor:
    """Last hidden states, (n, tokens, dim), as transformers computes them."""

    def linear(name, x):
        return F.linear(x, state[f"{name}.weight"], state[f"{name}.bias"])

    def norm(name, x):
        return F.layer_norm(x, (DIM,), state[f"{name}.weight"], state[f"{name}.bias"], eps=1e-6)

    projection = "embeddings.patch_embeddings.projection"
    x = F.conv2d(images, state[f"{projection}.weight"], state[f"{projection}.bias"], stride=PATCH_PX)
    x = x.flatten(2).transpose(1, 2)
    x = (
        torch.cat([state["embeddings.cls_token"].expand(len(x), -1, -1), x], 1)
        + state["embeddings.position_embeddings"]
    )
    if kind == "registers":
        x = torch.cat([x[:, :1], state["embeddings.register_tokens"].expand(len(x), -1, -1), x[:, 1:]], 1)
    for block in range(DEPTH):
        at = f"encoder.layer.{block}."
        first, second = ("layernorm_before", "layernorm_after") if kind == "vit" else ("norm1", "norm2")
        y = norm(at + first, x)
        q, k, v = (
            linear(f"{at}attention.attention.{part}", y).unflatten(2, (HEADS, -1)).transpose(1, 2)
            for part in ("query", "key", "value")
        )
        weights = (q @ k.transpose(2, 3) / math.sqrt(DIM / HEADS)).softmax(-1)
        y = linear(f"{at}attention.output.dense", (weights @ v).transpose(1, 2).flatten(2))
        x = x + y * (1 if kind == "vit" else state[f"{at}layer_scale1.lambda1"])
        y = norm(at + second, x)
        if kind == "swiglu":
            gate, value = linear(f"{at}mlp.weights_in", y).chunk(2, dim=-1)
            y = linear(f"{at}mlp.weights_out", F.silu(gate) * value)
        elif kind == "vit":
            y = linear(f"{at}output.dense", F.gelu(linear(f"{at}intermediate.dense", y)))
        else:
            y = linear(f"{at}mlp.fc2", F.gelu(linear(f"{at}mlp.fc1", y)))
        x = x + y * (1 if kind == "vit" else state[f"{at}layer_scale2.lambda1"])
    return norm("layernorm", x)


def network_for(kind: str) -> torch.nn.Module:
    arguments = {"img_size": EDGE_PX, "patch_size": PATCH_PX, "embed_dim": DIM, "depth": DEPTH, "num_heads": HEADS}
    if kind == "registers":
        arguments |= {"reg_tokens": 4, "no_embed_class": True}
    if kind != "vit":
        arguments |= {"init_values": 1e-5}
    if kind == "swiglu":
        arguments |= {"mlp_layer": "SwiGLUPacked", "act_layer": "silu", "mlp_ratio": 8}
    return create_network("vit_tiny_patch16_224", arguments, pooling="cls").eval()


@pytest.mark.parametrize("kind", ["vit", "dinov2", "swiglu", "registers"])
@pytest.mark.parametrize("prefix", ["", "model."])
def test_same_tokens_as_transformers(kind, prefix):
    state = random_state(kind)
    network = network_for(kind)
    named = {prefix + name: tensor for name, tensor in state.items()}
    fit_weights(network, named, weights_format="transformers", source="a test")
    images = torch.randn(2, 3, EDGE_PX, EDGE_PX)
    with torch.inference_mode():
        torch.testing.assert_close(network(images), reference(state, kind, images), rtol=1e-4, atol=1e-4)


def test_weights_that_were_converted_before():
    network = network_for("dinov2")
    state = from_transformers(random_state("dinov2"))
    fit_weights(network, state, weights_format="transformers", source="a test")
    torch.testing.assert_close(network.state_dict()["norm.weight"], state["norm.weight"])


def test_positions_of_another_grid_are_resampled_without_anti_aliasing():
    state = from_transformers(random_state("dinov2", patches=64))
    resampled = resample_positions(state, 1 + PATCHES)["pos_embed"]
    grid = state["pos_embed"][:, 1:].reshape(1, 8, 8, DIM).permute(0, 3, 1, 2)
    expected = F.interpolate(grid, size=(4, 4), mode="bicubic").permute(0, 2, 3, 1).reshape(1, 16, DIM)
    torch.testing.assert_close(resampled[:, 1:], expected)
    torch.testing.assert_close(resampled[:, :1], state["pos_embed"][:, :1])
    assert resample_positions(state, 65) is state


def test_tensors_of_another_layout():
    with pytest.raises(WeightsError, match=r"blocks\.0"):
        from_transformers({"blocks.0.norm1.weight": torch.ones(3)})
    with pytest.raises(WeightsError, match=r"something"):
        from_transformers({"encoder.layer.0.something.weight": torch.ones(3)})
