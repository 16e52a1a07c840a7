"""A sample of every kind of input; `make fuzz` tries as many as FUZZ_INPUTS says."""

import os
from pathlib import Path

import pytest

from tests.fuzz.kind import Kind, find_faults, kinds

KINDS = list(kinds())
INPUTS = int(os.environ.get("FUZZ_INPUTS", 0))
SEED = int(os.environ.get("FUZZ_SEED", 0))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_inputs_are_read_or_refused(kind: Kind, tmp_path: Path):
    inputs = INPUTS * kind.sample // sum(each.sample for each in KINDS) or kind.sample
    faults = find_faults(kind, tmp_path, inputs=inputs, seed_=SEED)
    assert not faults, "\n".join(map(str, faults))
