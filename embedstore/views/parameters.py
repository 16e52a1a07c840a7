"""The parameters of views: random numbers for each view, which are stored with it."""

import numpy as np
from numpy.typing import NDArray

from embedstore.config import ViewConfig

#: In the order in which they are applied; all 0 leaves a tile as it is.
#:
#: crop: share of the area that is cut away; crop_x, crop_y: where the rest lies, 0 (left, top) to 1.
#: mirror: 1 where left and right are swapped; turns: quarter turns counter-clockwise, after mirroring.
#: haematoxylin_gain, eosin_gain: relative change of a stain's amount; …_shift: added to the amount, optical density:
#: in full where there is enough of the stain, less where there is little, nothing on background.
#: blur: standard deviation, pixels. contrast: relative change about the mean; brightness: added, share of white.
#: jpeg: 100 less the quality of the JPEG that it goes through.
PARAMETERS = (
    "crop", "crop_x", "crop_y", "mirror", "turns", "haematoxylin_gain", "haematoxylin_shift", "eosin_gain",
    "eosin_shift", "blur", "contrast", "brightness", "jpeg",
)  # fmt: skip
#: Probability of each step that not every view gets.
_PROBABILITIES = {"crop": 0.5, "brightness": 0.5, "contrast": 0.5, "blur": 0.25, "jpeg": 0.25}


def unchanged() -> NDArray[np.float32]:
    """Parameters, (parameters,), of a view that equals the tile."""
    return np.zeros(len(PARAMETERS), np.float32)


def draw_parameters(tile_ids: NDArray[np.int64], config: ViewConfig) -> NDArray[np.float32]:
    """Draw the parameters of views; those of a tile depend only on its id and the seed.

    The first views of a tile are the same for every `config.count`.

    Args:
        tile_ids: (n,) int64.
    Returns:
        (n, count, parameters), in the order of `PARAMETERS`.
    """
    size = config.count, len(PARAMETERS) + len(_PROBABILITIES)
    uniform = np.empty((len(tile_ids), *size))
    key = np.empty(2, np.uint64)  # a list of the two would become float64, in which neighbouring ids coincide
    key[0] = config.seed
    for i, tile_id in enumerate(tile_ids.astype(np.uint64)):
        key[1] = tile_id
        uniform[i] = np.random.Generator(np.random.Philox(key=key)).random(size)
    unit = dict(zip(PARAMETERS, np.moveaxis(uniform, -1, 0), strict=False))  # 0 to 1
    signed = {name: 2 * values - 1 for name, values in unit.items()}  # -1 to 1
    applied = {
        name: uniform[..., len(PARAMETERS) + i] < probability
        for i, (name, probability) in enumerate(_PROBABILITIES.items())
    }
    stains = [name for name in PARAMETERS if name.endswith(("_gain", "_shift"))]
    parameters = {
        "crop": applied["crop"] * unit["crop"] * config.crop,
        "crop_x": applied["crop"] * unit["crop_x"] * (config.crop > 0),
        "crop_y": applied["crop"] * unit["crop_y"] * (config.crop > 0),
        "mirror": unit["mirror"] < 0.5,
        "turns": np.floor(4 * unit["turns"]),
        **{name: signed[name] * config.stain for name in stains},
        "blur": applied["blur"] * unit["blur"] * config.blur,
        "contrast": applied["contrast"] * signed["contrast"] * config.contrast,
        "brightness": applied["brightness"] * signed["brightness"] * config.brightness,
        "jpeg": applied["jpeg"] * np.round(unit["jpeg"] * (100 - config.jpeg)),
    }
    return np.stack([parameters[name] for name in PARAMETERS], axis=-1).astype(np.float32)
