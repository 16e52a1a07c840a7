"""`embedstore doctor`."""

import importlib.metadata

import pytest

from cli import doctor


@pytest.mark.parametrize(("missing", "ok"), [("fastslide", True), ("anndata", True), ("pylance", False)])
def test_extras_may_be_missing(monkeypatch, missing, ok):
    real = importlib.metadata.version

    def version(name: str) -> str:
        if name == missing:
            raise importlib.metadata.PackageNotFoundError(name)
        return "0" if name in ("embedstore", *doctor.EXTRAS) else real(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    check = doctor._packages()
    assert check["ok"] == ok
    assert (f"missing: {missing}" in check["found"]) != ok
