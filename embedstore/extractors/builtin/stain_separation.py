"""Separate the stains of a tile by colour deconvolution."""

import torch
from torch import Tensor

from embedstore.views.stain_vectors import stain_vectors


def stain_matrix() -> Tensor:
    """(3, 3) float32, from optical densities of R, G, B to amounts of haematoxylin, eosin and residual."""
    return torch.linalg.inv(torch.from_numpy(stain_vectors())).to(torch.float32)


def separate_stains(tiles: Tensor, matrix: Tensor, *, shrink: int = 1) -> Tensor:
    """Amounts of haematoxylin, eosin and residual.

    Args:
        tiles: (n, h, w, 3) uint8 RGB.
        matrix: Of `stain_matrix`, on the tiles' device.
        shrink: Edge of the blocks of pixels whose light is averaged first, as a coarser scan would.
    Returns:
        (n, 3, h // shrink, w // shrink) float32, in units of optical density; about 0 on background. The first two are
        0.3 to 1 in tissue.
    """
    light = _mean_of_blocks(tiles, shrink).permute(0, 3, 1, 2)
    # +1 keeps black finite: the optical density of 0 is log10(256) = 2.4.
    density = light.contiguous().add_(1.0).mul_(1.0 / 256.0).log10_().neg_()
    return (matrix.T @ density.flatten(2)).view(density.shape)


def _mean_of_blocks(tiles: Tensor, edge: int) -> Tensor:
    """(n, h, w, 3) uint8 → float32 means of blocks of edge × edge; sums of slices are faster than pooling here."""
    light = tiles.float()
    if edge == 1:
        return light
    height, width = tiles.shape[1] // edge * edge, tiles.shape[2] // edge * edge
    rows = light[:, 0:height:edge]
    for offset in range(1, edge):
        rows = rows + light[:, offset:height:edge]
    blocks = rows[:, :, 0:width:edge]
    for offset in range(1, edge):
        blocks = blocks + rows[:, :, offset:width:edge]
    return blocks / edge**2
