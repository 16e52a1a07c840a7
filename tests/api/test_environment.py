"""What `embedstore doctor` checks."""

import errno
import importlib.metadata
import os
from pathlib import Path

import pytest

from embedstore.api import environment
from tests.heads.scene import make_store


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


def test_a_store_that_may_not_be_read_is_told_in_words(monkeypatch: pytest.MonkeyPatch):
    def refuse(uri: str) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", f"{uri}/slides.lance")

    monkeypatch.setattr("embedstore.store.Store.open", refuse)
    check = environment._store("s")
    assert not check.ok and check.found.startswith("'s/slides.lance' cannot be read or written: Permission denied; ")


def test_a_store_that_was_copied_in_part_or_can_be_read_only_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    uri = make_store(tmp_path, slides=2, tiles=4).uri
    assert environment._store(uri).found == f"{uri}: toy (8 tiles)"
    monkeypatch.setattr(os, "access", lambda *_, **__: False)
    check = environment._store(uri)
    assert check.ok and "toy (8 tiles); it can be read only: the store" in check.found
    for path in (Path(uri) / "tiles-toy.lance" / "data").iterdir():
        path.unlink()
    check = environment._store(uri)
    assert not check.ok and "are missing, such as tiles-toy.lance/data/" in check.found
