"""A bucket to put slides in, and a cache folder of the test's own."""

from collections.abc import Callable
from pathlib import Path

import pytest

from embedstore.slides import limit_slide_cache
from embedstore.slides.remote import objects
from tests import bucket_files

Put = Callable[[str, bytes | Path], str]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of fetched slides, in which the test begins with none."""
    monkeypatch.setenv("EMBEDSTORE_CACHE", str(tmp_path / "cache"))
    limit_slide_cache(1.0, wait_s=0.0)
    return tmp_path / "cache" / "slides"


@pytest.fixture
def put(bucket: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Put:
    """Puts bytes, a file, or all files of a folder under a key of a new bucket; gives its address."""
    monkeypatch.setattr(objects, "PAUSES_S", (0.01,) * 4)
    monkeypatch.setattr(objects, "FIRST_PAUSES_S", (0.01,))
    return lambda key, what: bucket_files.put(f"{bucket}/{key}", what)
