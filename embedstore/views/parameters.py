"""The parameters of views: numbers that are drawn for each view and stored with it."""

import numpy as np
from numpy.typing import NDArray

from embedstore.config import ViewConfig

#: In the order in which they are applied; all 0 leaves a tile as it is.
#:
#: crop: share of the area that is cut away; crop_x, crop_y: where the rest lies, 0 (left, top) to 1.
#: mirror: 1 where left and right are swapped; turns: quarter turns counter-clockwise, after mirroring.
#: haematoxylin_gain, eosin_gain: relative change of a stain's amount; …_shift: what is added to it, optical density:
#: in full where there is enough of the stain, less where there is little, nothing on background.
#: blur: standard deviation, pixels. contrast: relative change about the mean; brightness: added, share of white.
#: jpeg: 100 less the quality of the JPEG that it goes through.
PARAMETERS = (
    "crop", "crop_x", "crop_y", "mirror", "turns", "haematoxylin_gain", "haematoxylin_shift", "eosin_gain",
    "eosin_shift", "blur", "contrast", "brightness", "jpeg",
)  # fmt: skip
#: Probability that a view is cropped or changed in brightness or contrast; and that it is blurred or compressed.
_OFTEN, _SELDOM = 0.5, 0.25
#: Each of these steps happens with its own probability.
_CHANCES = {"crop": _OFTEN, "brightness": _OFTEN, "contrast": _OFTEN, "blur": _SELDOM, "jpeg": _SELDOM}


def unchanged() -> NDArray[np.float32]:
    """Parameters, (parameters,), of a view that equals the tile."""
    return np.zeros(len(PARAMETERS), np.float32)


def draw_parameters(tile_ids: NDArray[np.int64], config: ViewConfig) -> NDArray[np.float32]:
    """Draw the parameters of views: those of a tile depend on its id and the seed alone.

    The first views of a tile are the same for every `config.count`.

    Args:
        tile_ids: (n,) int64.
    Returns:
        (n, count, parameters), in the order of `PARAMETERS`.
    """
    size = config.count, len(PARAMETERS) + len(_CHANCES)
    uniform = np.empty((len(tile_ids), *size))
    key = np.empty(2, np.uint64)  # a list of the two would become float64, in which neighbouring ids coincide
    key[0] = config.seed
    for i, tile_id in enumerate(tile_ids.astype(np.uint64)):
        key[1] = tile_id
        uniform[i] = np.random.Generator(np.random.Philox(key=key)).random(size)
    value = dict(zip(PARAMETERS, np.moveaxis(uniform, -1, 0), strict=False))
    happens = {name: uniform[..., len(PARAMETERS) + i] < chance for i, (name, chance) in enumerate(_CHANCES.items())}
    either = {name: 2 * at - 1 for name, at in value.items()}  # -1 to 1
    stains = [name for name in PARAMETERS if name.endswith(("_gain", "_shift"))]
    drawn = {
        "crop": happens["crop"] * value["crop"] * config.crop,
        "crop_x": happens["crop"] * value["crop_x"] * (config.crop > 0),
        "crop_y": happens["crop"] * value["crop_y"] * (config.crop > 0),
        "mirror": value["mirror"] < 0.5,
        "turns": np.floor(4 * value["turns"]),
        **{name: either[name] * config.stain for name in stains},
        "blur": happens["blur"] * value["blur"] * config.blur,
        "contrast": happens["contrast"] * either["contrast"] * config.contrast,
        "brightness": happens["brightness"] * either["brightness"] * config.brightness,
        "jpeg": happens["jpeg"] * np.round(value["jpeg"] * (100 - config.jpeg)),
    }
    return np.stack([drawn[name] for name in PARAMETERS], axis=-1).astype(np.float32)
