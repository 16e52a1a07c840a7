"""From a network's output to one vector a tile."""

import torch
from torch import Tensor

from embedstore.errors import ExtractorError


def pool(output: Tensor, pooling: str, *, prefix_tokens: int) -> Tensor:
    """One vector a tile.

    Args:
        output: (n, dim) where the network pools by itself; (n, tokens, dim) otherwise: the class token first,
            then the register tokens, then the patches.
        pooling: `network`, `cls`, `mean` (of the patch tokens) or `cls+mean` (concatenated, twice the length).
        prefix_tokens: Class and register tokens together; registers take part in no pooling.
    Returns:
        (n, dim), or (n, 2 dim) for `cls+mean`.
    Raises:
        ExtractorError: the output has no tokens to pool.
    """
    if pooling == "network":
        return output
    if output.ndim != 3:
        raise ExtractorError(
            f"pooling {pooling!r} needs tokens of shape (n, tokens, dim); the network gives {tuple(output.shape)}; "
            "use pooling 'network'"
        )
    if "cls" in pooling and prefix_tokens == 0:
        raise ExtractorError(f"pooling {pooling!r} needs a class token, and the network has none; use 'mean'")
    if pooling == "cls":
        return output[:, 0]
    mean = output[:, prefix_tokens:].mean(dim=1)
    return mean if pooling == "mean" else torch.cat([output[:, 0], mean], dim=-1)
