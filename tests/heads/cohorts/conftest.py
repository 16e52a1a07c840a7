"""A store with heads that were fitted on two of its three sites, and a store of another hospital."""

from dataclasses import dataclass

import pytest

from embedstore.store import Store
from heads.config import FitConfig, SplitConfig
from heads.fit import fit_heads
from tests.heads.scene import COLLECTION, make_store


@dataclass(frozen=True, kw_only=True)
class Hospitals:
    """`here` has heads of sites A and B: `tile`, `mean`, `holdout`; `there` has other patients."""

    here: Store
    there: Store


@pytest.fixture(scope="session")
def hospitals(tmp_path_factory: pytest.TempPathFactory) -> Hospitals:
    here = make_store(tmp_path_factory.mktemp("here"), slides=18)
    there = make_store(tmp_path_factory.mktemp("there"), slides=12, draw=1, prefix="other-")
    holdout = SplitConfig(kind="holdout")
    for name, task, config in (
        ("tile", "tissue", FitConfig(bootstrap=100, c=(0.1,))),
        ("holdout", "tissue", FitConfig(bootstrap=100, c=(0.1,), split=holdout)),
        ("mean", "grade", FitConfig(bootstrap=100, c=(0.1,), model="mean", level="slide", split=SplitConfig(folds=3))),
    ):
        fit_heads(here, here.collection(COLLECTION), [task], config, names=[name], where="site != 'C'")
    return Hospitals(here=here, there=there)
