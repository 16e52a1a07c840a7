"""The colours of haematoxylin and eosin."""

import numpy as np
from numpy.typing import NDArray

# Optical densities of haematoxylin and eosin in R, G, B: Ruifrok & Johnston, Quantification of histochemical
# staining by color deconvolution, Anal. Quant. Cytol. Histol. 23 (2001); the third vector is the residual.
HAEMATOXYLIN = (0.650, 0.704, 0.286)
EOSIN = (0.072, 0.990, 0.105)


def stain_vectors() -> NDArray[np.float64]:
    """(3, 3) of unit length: optical density in R, G, B of one unit of haematoxylin, of eosin, of the residual."""
    stains = np.array([HAEMATOXYLIN, EOSIN])
    stains /= np.linalg.norm(stains, axis=1, keepdims=True)
    residual = np.cross(stains[0], stains[1])
    return np.concatenate([stains, residual[None] / np.linalg.norm(residual)])
