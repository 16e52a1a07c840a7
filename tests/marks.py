"""Marks for the values of a parametrised test."""

from typing import Any

import pytest


def slow(*values: Any) -> Any:
    """Values that `make test-fast` leaves out: others show it nearly as well."""
    return pytest.param(*values, marks=pytest.mark.slow)
