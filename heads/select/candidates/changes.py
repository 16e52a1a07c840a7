"""Changes of a tile that leave what it shows as it was: an extractor should hardly notice them."""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from embedstore.views import PARAMETERS, unchanged


def _change(**values: float) -> NDArray[np.float32]:
    parameters = unchanged()
    for name, value in values.items():
        parameters[PARAMETERS.index(name)] = value
    parameters.flags.writeable = False
    return parameters


#: Parameters of `apply_view` by name: stains of another laboratory (15 % more haematoxylin, 15 % less eosin), a slide
#: out of focus by 1.5 pixels of the tile, a scanner that saves space (JPEG of quality 30), a slide turned by a quarter.
CHANGES: Mapping[str, NDArray[np.float32]] = MappingProxyType(
    {
        "stain": _change(haematoxylin_gain=0.15, eosin_gain=-0.15),
        "blur": _change(blur=1.5),
        "jpeg": _change(jpeg=70),
        "rotation": _change(turns=1),
    }
)
