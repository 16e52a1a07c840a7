"""Linear heads without JAX give what the program of a fit gives, to the rounding of float32."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from heads.networks.ensemble import Ensemble

DIM, MEMBERS = 48, 3
#: More than two blocks of NumPy's, the last of them short.
ROWS = 1100


def ensemble_of(model: str, columns: int, *, seed: int = 0) -> Ensemble:
    rng = np.random.default_rng(seed)

    def drawn(*shape: int) -> np.ndarray:
        return rng.normal(size=shape).astype(np.float32)

    parameters = {"kernel": drawn(MEMBERS, DIM, columns)}
    if model != "zero-shot":
        parameters["bias"] = drawn(MEMBERS, columns)
    if model == "mlp":
        parameters |= {"out_kernel": drawn(MEMBERS, columns, columns), "out_bias": drawn(MEMBERS, columns)}
    return Ensemble(
        model=model,
        parameters=parameters,
        mean=drawn(DIM),
        std=1 + np.abs(drawn(DIM)),
        shift=drawn(MEMBERS, DIM),
        scale=1 + np.abs(drawn(MEMBERS, DIM)),
        offset=drawn(MEMBERS, columns),
        temperature=np.ones(MEMBERS, np.float32),
    )


def vectors_of(rows: int) -> np.ndarray:
    return (2 * np.random.default_rng(1).normal(size=(rows, DIM))).astype(np.float16)


@pytest.mark.parametrize("columns", [1, 4])
@pytest.mark.parametrize("model", ["linear", "mean", "max", "zero-shot"])
def test_linear_logits_are_those_of_the_program(model: str, columns: int):
    ensemble = ensemble_of(model, columns)
    vectors = vectors_of(ROWS)
    vectors[7] = 0
    ours, theirs = ensemble.logits(vectors), ensemble.compiled_logits(vectors)
    assert ours.shape == theirs.shape == (MEMBERS, ROWS, columns) and ours.dtype == theirs.dtype
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)
    assert np.abs(ours).max() > 1  # they are no zeros


def test_a_hidden_layer_goes_through_the_program():
    ensemble, vectors = ensemble_of("mlp", 4), vectors_of(10)
    np.testing.assert_array_equal(ensemble.logits(vectors), ensemble.compiled_logits(vectors))


def test_a_row_does_not_depend_on_the_others():
    ensemble, vectors = ensemble_of("linear", 2), vectors_of(ROWS)
    whole = ensemble.logits(vectors)
    for rows in ([0], [3, 1099], list(range(500, 530))):
        np.testing.assert_array_equal(ensemble.logits(vectors[rows]), whole[:, rows])
    assert ensemble.logits(vectors[:0]).shape == (MEMBERS, 0, 2)


def test_a_vector_that_is_not_finite_spoils_its_own_row_alone():
    ensemble, vectors = ensemble_of("linear", 1), vectors_of(5)
    expected = ensemble.logits(vectors)
    vectors[2, 0], vectors[4, 1] = np.nan, np.inf
    found = ensemble.logits(vectors)
    assert not np.isfinite(found[:, [2, 4]]).any()
    np.testing.assert_array_equal(found[:, [0, 1, 3]], expected[:, [0, 1, 3]])


@pytest.mark.slow
def test_a_linear_head_is_asked_without_jax(tmp_path: Path):
    vectors, ensemble = vectors_of(20), ensemble_of("linear", 1)
    arrays = {name: getattr(ensemble, name) for name in ("mean", "std", "shift", "scale", "offset", "temperature")}
    np.savez(tmp_path / "head.npz", vectors=vectors, **arrays, **ensemble.parameters)
    code = """
import json, sys
import numpy as np
import heads.active, heads.predict
from heads.head import Head
from heads.networks.ensemble import Ensemble
with np.load(sys.argv[1]) as file:
    arrays = dict(file)
vectors = arrays.pop("vectors")
parameters = {name: arrays.pop(name) for name in ("kernel", "bias")}
ensemble = Ensemble(model="linear", parameters=parameters, **arrays)
names = {"name": "a", "task": "t", "collection": "c", "extractor_digest": "d", "model": "linear", "level": "tile"}
thresholds = np.full(2, 0.5, np.float32)
head = Head(**names, classes=("a", "b"), multi_label=False, positive="b", thresholds=thresholds, ensemble=ensemble)
head.decide(head.probabilities(vectors))
print(json.dumps(sorted({"jax", "flax", "optax"} & set(sys.modules))))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "head.npz")], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == []
