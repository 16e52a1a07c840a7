"""The robustness index beside that of the package croma (1.0.1), on the same vectors."""

import croma
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from heads.select.robustness import site_index


def scene(seed: int, *, follows_site: float) -> tuple[NDArray[np.float16], NDArray, NDArray, NDArray]:
    """Vectors, classes, sites and patients of 240 tiles; every class is at every site."""
    rng = np.random.default_rng(seed)
    classes, group = rng.integers(3, size=240), np.arange(240) % 48
    site = group % 4
    x = rng.normal(size=(240, 16))
    x[:, :3] += 2 * np.eye(3)[classes]
    x[:, 3:7] += 2 * follows_site * np.eye(4)[site]
    return x.astype(np.float16), classes, site, group


def index_of_croma(x: NDArray, classes: NDArray, site: NDArray, group: NDArray, k: int) -> float:
    manifest = pd.DataFrame(
        {
            "sample_id": [f"tile {i}" for i in range(len(x))],
            "image_path": "",
            "label": [f"class {c}" for c in classes],
            "group_id": [f"patient {g}" for g in group],
            "site": [f"site {s}" for s in site],
        }
    )
    features = x.astype(np.float64)
    return croma.RI.compute_curve(features, manifest, confounder_column="site", k_values=[k])[k]


@pytest.mark.parametrize(("seed", "follows_site", "k"), [(0, 0.0, 20), (1, 1.0, 20), (2, 2.0, 5), (3, 0.5, 1)])
def test_the_index_is_that_of_croma(seed: int, follows_site: float, k: int):
    scene_ = scene(seed, follows_site=follows_site)
    found, _ = site_index(*scene_, neighbours=k, resamples=0, seed=0)
    assert found is not None
    assert found.value == pytest.approx(index_of_croma(*scene_, k), abs=1e-9)


def test_tiles_that_no_extractor_decides_about_count_in_croma_alone():
    x, classes, site, group = scene(4, follows_site=0.5)
    kept = (classes != 2) | (site == 0)  # class 2 is at one site: no neighbour of it can be of another
    x, classes, site, group = (a[kept] for a in (x, classes, site, group))
    found, note = site_index(x, classes, site, group, neighbours=10, resamples=0, seed=0)
    crossed = classes != 2
    assert found is not None and found.value == pytest.approx(
        index_of_croma(*(a[crossed] for a in (x, classes, site, group)), 10), abs=1e-9
    )
    assert f"{int((~crossed).sum())} tiles are left out of it" in note
    assert found.value != pytest.approx(index_of_croma(x, classes, site, group, 10), abs=1e-3)
