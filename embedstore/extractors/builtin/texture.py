"""Texture of stain images: how stain, gradients, and blobs of two sizes vary together, scale by scale.

At each scale a tile is described by the covariance of thirteen local measurements over its area (region covariance:
Tuzel, Porikli & Meer, ECCV 2006), mapped by the matrix logarithm into a space where distances between covariances are
ordinary ones (Arsigny et al., SIAM J. Matrix Anal. Appl. 29, 2007), and by the co-occurrence of grey levels of
haematoxylin in neighbouring pixels (Haralick et al., IEEE Trans. SMC 3, 1973). All of it is the same for a tile that is
mirrored or turned by a quarter, but for the rounding at its edges.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

MEASUREMENTS = 13
SCALES = 3  # about 1, 2 and 4 µm per pixel: nuclei, their neighbourhood, and their density
# Variance added to every measurement: 0.01 of optical density is what two grey levels make in bright tissue. It also
# bounds the logarithm on a blank tile.
NOISE_VARIANCE = 1e-4
# Bounds of the grey levels of haematoxylin, optical density: between background, stroma, pale and dense nuclei.
LEVELS = (0.12, 0.25, 0.40, 0.55, 0.75)
NEIGHBOURS = ((0, 1), (1, 0), (1, 1), (1, -1))  # (rows, columns); the opposite ones are the same pairs

_TRIANGLE = MEASUREMENTS * (MEASUREMENTS + 1) // 2
_PAIRS = (len(LEVELS) + 1) * (len(LEVELS) + 2) // 2
BLOCKS = (*[_TRIANGLE] * SCALES, _PAIRS)  # lengths of the parts of what `texture_features` returns


def texture_features(stains: Tensor) -> Tensor:
    """Describe stain images.

    Args:
        stains: (n, 3, h, w) float32 amounts of haematoxylin, eosin and residual; h and w at least 24.
    Returns:
        (n, 294) float32: a log-covariance of 91 values a scale, then 21 roots of shares of pairs of grey levels.
    """
    blocks = []
    image = stains
    for scale in range(SCALES):
        smooth = _blur(image)
        blocks.append(_log_covariance(_measurements(image, smooth)))
        if scale + 1 < SCALES:
            image = _halve(smooth)
    return torch.cat([*blocks, _cooccurrence(stains[:, 0])], dim=1)


def _measurements(image: Tensor, smooth: Tensor) -> Tensor:
    """(n, 13, h, w), in units of optical density.

    The three stains; and of haematoxylin and eosin: the length of the gradient, and two bands (fine and coarse blobs)
    with their absolute values, so that their covariances tell blobs that are darker from blobs that are paler.
    """
    he, smooth = image[:, :2], smooth[:, :2]
    fine = he - smooth
    coarse = smooth - _blur(_blur(smooth))
    padded = F.pad(he, (1, 1, 1, 1), mode="replicate")
    across = padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]
    along = padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]
    gradient = (across.square_() + along.square_()).sqrt_().mul_(0.5)
    return torch.cat([image, gradient, fine, fine.abs(), coarse, coarse.abs()], dim=1)


def _blur(image: Tensor) -> Tensor:
    """Binomial filter of 5 × 5: four sums of neighbours each way (three times as fast as a grouped convolution)."""
    image = F.pad(image, (2, 2, 2, 2), mode="reflect")
    for _ in range(4):
        image = image[..., 1:, :] + image[..., :-1, :]
    for _ in range(4):
        image = image[..., 1:] + image[..., :-1]
    return image.mul_(1.0 / 256.0)


def _halve(image: Tensor) -> Tensor:
    height, width = image.shape[-2] // 2 * 2, image.shape[-1] // 2 * 2
    rows = image[..., :height:2, :] + image[..., 1:height:2, :]
    return (rows[..., :width:2] + rows[..., 1:width:2]).mul_(0.25)


def _log_covariance(local: Tensor) -> Tensor:
    """(n, c, h, w) → the upper triangle of the logarithm of the covariance over the area.

    Off-diagonals count √2, so that distances of these vectors are those of the matrices. The logarithm is taken in
    float64: it magnifies the rounding of the smallest eigenvalues.
    """
    flat = local.flatten(2)
    centred = flat - flat.mean(dim=2, keepdim=True)
    covariance = (centred @ centred.transpose(1, 2)).double() / flat.shape[2]
    size = covariance.shape[-1]
    identity = torch.eye(size, dtype=torch.float64, device=local.device)
    values, vectors = torch.linalg.eigh(covariance + NOISE_VARIANCE * identity)
    logarithm = (vectors * values.clamp_min(NOISE_VARIANCE / 2).log()[:, None]) @ vectors.transpose(1, 2)
    rows, columns = torch.triu_indices(size, size, device=local.device)
    weights = torch.where(rows == columns, 1.0, 2**0.5)
    return (logarithm[:, rows, columns] * weights).float()


def _cooccurrence(stain: Tensor) -> Tensor:
    """(n, h, w) → roots of the shares of neighbouring pixels that have each pair of grey levels."""
    number, height, width = stain.shape
    levels = len(LEVELS) + 1
    grey = torch.bucketize(stain.contiguous(), stain.new_tensor(LEVELS), out_int32=True)
    counts = torch.zeros(number * levels**2, dtype=torch.int64, device=stain.device)
    pairs = 0
    tile_offset = torch.arange(number, dtype=torch.int32, device=stain.device).view(-1, 1, 1) * levels**2
    for down, right in NEIGHBOURS:
        first = grey[:, : height - down, max(0, -right) : width - max(0, right)]
        second = grey[:, down:, max(0, right) : width + min(0, right)]
        code = first * levels + second + tile_offset
        counts += torch.bincount(code.flatten(), minlength=counts.numel())
        pairs += code[0].numel()
    shares = counts.view(number, levels, levels).float() / pairs
    symmetric = (shares + shares.transpose(1, 2)) / 2
    rows, columns = torch.triu_indices(levels, levels, device=stain.device)
    return symmetric[:, rows, columns].sqrt()
