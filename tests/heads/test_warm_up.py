"""After a warm-up, the first fit of few marks and its predictions compile nothing large."""

from pathlib import Path

import jax
import pytest

from embedstore.store import Store
from heads.config import FitConfig
from heads.fit import fit_heads
from heads.predict import predict
from heads.warm_up import warm_up
from tests.heads.scene import COLLECTION, DIM, make_store

pytestmark = pytest.mark.slow
#: Names of the programs that take seconds to compile.
LARGE = ("_fit", "_logits")


def test_the_first_fit_compiles_nothing_large(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    store: Store = make_store(tmp_path, slides=10, tiles=12)
    jax.clear_caches()
    with jax.log_compiles():
        warm_up(DIM)
        compiled = [record.getMessage() for record in caplog.records]
        assert any("jit(_fit)" in line for line in compiled)
        small = [
            line for line in compiled if "Finished XLA" in line and not any(f"jit({name})" in line for name in LARGE)
        ]
        assert len(small) < 6, small  # each takes 20 ms of the first fit of a day
        caplog.clear()
        fit_heads(store, store.collection(COLLECTION), ["tissue"], FitConfig(bootstrap=0), names=["a"])
        predict(store, "a")
    compiled = [record.getMessage() for record in caplog.records if "ompiling" in record.getMessage()]
    assert not [line for line in compiled if any(f"jit({name})" in line for name in LARGE)], compiled
