"""Random textures and smooth fields, which shape all parts of a synthetic slide."""

from functools import cache

import cv2
import numpy as np

TEXEL_UM = 0.5  # edge of a texture's texel, µm: one pixel at 20x
TEXTURE_TEXELS = 1024  # a texture repeats after 512 µm; each use bends it, which hides the repeat


def _standardised(field: np.ndarray) -> np.ndarray:
    return ((field - field.mean()) / field.std()).astype(np.float32)


def _filtered(response: np.ndarray, seed: int) -> np.ndarray:
    """White noise, filtered in the frequency domain: periodic, so it tiles without a seam."""
    white = np.random.default_rng(seed).standard_normal((TEXTURE_TEXELS, TEXTURE_TEXELS), dtype=np.float32)
    spectrum = cv2.dft(white, flags=cv2.DFT_COMPLEX_OUTPUT)
    return cv2.idft(spectrum * response[..., None], flags=cv2.DFT_REAL_OUTPUT | cv2.DFT_SCALE)


def _frequencies() -> tuple[np.ndarray, np.ndarray]:
    """Cycles per texel along x and y, in the order of `cv2.dft`."""
    frequency = np.fft.fftfreq(TEXTURE_TEXELS).astype(np.float32)
    return np.meshgrid(frequency, frequency)


@cache
def fibre_texture() -> np.ndarray:
    """Fibres along x: bundles about 6 µm wide of fibrils of 1.5 µm; mean 0, standard deviation 1."""
    along, across = _frequencies()

    def strands(length_um: float, width_um: float, seed: int) -> np.ndarray:
        length, width = length_um / TEXEL_UM, width_um / TEXEL_UM
        return _standardised(_filtered(np.exp(-((along * length) ** 2) * 3 - (across * width) ** 2 * 3), seed))

    return _standardised(strands(70, 7, 11) + 0.55 * strands(30, 1.8, 12) + 0.25 * strands(6, 1.2, 13))


@cache
def grain_texture() -> np.ndarray:
    """Isotropic grain like that of cytoplasm and chromatin, 1 to 8 µm; mean 0, standard deviation 1."""
    x, y = _frequencies()
    radius = np.hypot(x, y) / TEXEL_UM  # cycles per µm
    return _standardised(_filtered(np.exp(-((radius / 0.45) ** 2)) / (0.08 + radius), 21))


@cache
def cell_texture() -> np.ndarray:
    """Distance to the nearest wall in a foam of fat cells about 45 µm wide, µm; periodic."""
    texels_per_cell = int(48 / TEXEL_UM)
    count = TEXTURE_TEXELS // texels_per_cell
    pitch = TEXTURE_TEXELS / count
    rng = np.random.default_rng(31)
    rows, cols = np.mgrid[:count, :count]
    centres = (
        np.stack([cols, rows], -1) + 0.5 * (rows % 2)[..., None] * [1, 0] + rng.uniform(0.12, 0.88, (count, count, 2))
    ) * pitch
    # Computed at a quarter of the texture's resolution: the walls are smooth, and it takes 0.03 s instead of 0.4.
    side = TEXTURE_TEXELS // 4
    y, x = np.mgrid[:side, :side].astype(np.float32) * 4 + 2
    nearest = np.full((2, side, side), np.inf, np.float32)
    for centre_x, centre_y in centres.reshape(-1, 2).astype(np.float32):
        dx, dy = np.abs(x - centre_x % TEXTURE_TEXELS), np.abs(y - centre_y % TEXTURE_TEXELS)
        distance = np.hypot(np.minimum(dx, TEXTURE_TEXELS - dx), np.minimum(dy, TEXTURE_TEXELS - dy))
        nearest[1] = np.minimum(nearest[1], np.maximum(nearest[0], distance))
        nearest[0] = np.minimum(nearest[0], distance)
    wall_um = (nearest[1] - nearest[0]) / 2 * TEXEL_UM
    wrapped = np.pad(wall_um, 2, mode="wrap")
    size = (wrapped.shape[1] * 4, wrapped.shape[0] * 4)
    return cv2.resize(wrapped, size, interpolation=cv2.INTER_LINEAR)[8:-8, 8:-8].astype(np.float32)


def sample_texture(texture: np.ndarray, x_um: np.ndarray, y_um: np.ndarray) -> np.ndarray:
    """Sample a texture at given places.

    Args:
        texture: One of this file's textures.
        x_um: (h, w) float32, µm.
        y_um: (h, w) float32, µm.
    Returns:
        (h, w) float32.
    """
    side_um = TEXTURE_TEXELS * TEXEL_UM
    # remap counts pixels in 16 bits, which a large slide would overflow: whole repeats are subtracted first.
    x = (x_um - np.float32(np.floor(x_um.min() / side_um) * side_um)) * np.float32(1 / TEXEL_UM)
    y = (y_um - np.float32(np.floor(y_um.min() / side_um) * side_um)) * np.float32(1 / TEXEL_UM)
    return cv2.remap(texture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)


def smooth_field(shape: tuple[int, int], wavelength: float, rng: np.random.Generator) -> np.ndarray:
    """A smooth random field.

    Args:
        shape: (rows, cols).
        wavelength: Distance over which it varies, cells.
        rng: Source of randomness.
    Returns:
        (rows, cols) float32, mean about 0, standard deviation about 1.
    """
    pitch = max(wavelength / 2, 1.0)
    nodes = [int(np.ceil(extent / pitch)) + 4 for extent in shape]
    coarse = rng.standard_normal(nodes).astype(np.float32)
    coarse = cv2.GaussianBlur(coarse, (3, 3), 0.7) * 1.75  # 1.75 restores the standard deviation that the blur reduces
    full = cv2.resize(coarse, None, fx=pitch, fy=pitch, interpolation=cv2.INTER_CUBIC)
    row, col = int(pitch), int(pitch)
    return np.ascontiguousarray(full[row : row + shape[0], col : col + shape[1]])
