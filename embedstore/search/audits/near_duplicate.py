"""The distance within which two tiles show the same place. It depends on the extractor."""

import numpy as np
from numpy.typing import NDArray

from embedstore.config import require
from embedstore.search.tile_sample import TileSample

#: Tiles nearer than this share of the usual distance between patients show the same place. Measured on the distance of
#: a tile to a copy of itself, as a share of the median distance to the nearest tile of another patient:
#:
#:                         256 px, CAMELYON16 (89 tiles)        128 px, MIDOG 2021 (1,212 tiles)
#:   median of copies      JPEG 80   8 px aside   mirrored      JPEG 80   8 px aside   mirrored
#:   stain-texture           .10        .03          0            .23        .15          0
#:   MobileNetV2, ImageNet   .17        .20         .26           .28        .50         .50
#:   ShuffleNet, histology   .08        .30         .33           .19        .67         .75
#:
#: Of other patients' tiles in MIDOG none was below .45 with these three, in 1,212; in CAMELYON16 1 of 89 with the
#: ShuffleNet (.247). So a quarter finds copies that were compressed again, and with most networks copies that are a
#: few pixels aside. A mirrored or rotated copy is found where the extractor is invariant to it.
SHARE = 0.25
#: Smaller distances are rounding errors: stored vectors are right to one part in 2,048, 1e-7 to 1e-6 of distance.
ROUNDING = 1e-5
#: Tiles that are compared with each other.
COMPARED = 1_000


def check_distance(distance: float | None) -> None:
    """Raise ConfigError where a distance that the user gave is out of range."""
    require(distance is None or 0 <= distance <= 2, f"the distance is {distance}; expected 0 to 2")


def near_duplicate_distance(sample: TileSample, patients: NDArray[np.object_]) -> float:
    """A distance within which two tiles of a collection show the same place.

    It is SHARE of the median, over tiles of a sample, of the distance to the nearest tile of the second nearest
    patient. A patient who is there under two names does not lower it, and neither does a larger collection, as COMPARED
    tiles are used.

    Args:
        patients: (n,) patient of each tile of the sample.
    """
    rng = np.random.default_rng(0)
    chosen = np.sort(rng.permutation(len(sample))[:COMPARED])
    vectors, (_, patient) = sample.vectors[chosen], np.unique(patients[chosen].astype(str), return_inverse=True)
    order = np.argsort(patient, kind="stable")
    vectors, patient = vectors[order], patient[order]
    starts = np.flatnonzero(np.diff(patient, prepend=-1))
    if len(starts) < 2:
        return ROUNDING
    nearest = np.minimum.reduceat(1 - vectors @ vectors.T, starts, axis=1)  # (n, patients)
    nearest[np.arange(len(patient)), patient] = np.inf
    second = min(1, len(starts) - 2)
    usual = np.median(np.partition(nearest, second, axis=1)[:, second])
    return max(float(SHARE * usual), ROUNDING)
