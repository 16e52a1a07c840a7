"""Marks for the values of a parametrised test."""

from typing import Any

import hypothesis
import pytest


def slow(*values: Any) -> Any:
    """Values that `make test-fast` leaves out: others show it nearly as well."""
    return pytest.param(*values, marks=pytest.mark.slow)


def examples(count: int) -> int:
    """Examples of a property: so many in `make test`, a quarter of them in `make test-fast`."""
    return -(-count // 4) if hypothesis.settings.get_current_profile_name() == "fast" else count
