"""What `embedstore doctor` checks."""

import importlib.metadata

import pytest

from embedstore.api import environment


@pytest.mark.parametrize(("missing", "ok"), [("fastslide", True), ("anndata", True), ("pylance", False)])
def test_extras_may_be_missing(monkeypatch, missing, ok):
    real = importlib.metadata.version

    def version(name: str) -> str:
        if name == missing:
            raise importlib.metadata.PackageNotFoundError(name)
        return "0" if name in ("embedstore", *environment.EXTRAS) else real(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    check = environment._packages()
    assert check.ok == ok
    assert (f"missing: {missing}" in check.found) != ok
