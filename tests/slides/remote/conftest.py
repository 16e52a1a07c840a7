"""A bucket to put slides in, and a cache folder of the test's own."""

from collections.abc import Callable
from pathlib import Path

import obstore
import pytest
from obstore.store import from_url

from embedstore.slides import limit_slide_cache
from embedstore.slides.remote import objects

Put = Callable[..., str]


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
    objects._store.cache_clear()  # the environment has changed
    store = from_url(bucket, client_options={"allow_http": True})

    def put(key: str, what: bytes | Path) -> str:
        if isinstance(what, Path) and what.is_dir():
            for file in sorted(what.rglob("*")):
                if file.is_file():
                    put(f"{key}/{file.relative_to(what).as_posix()}", file)
        else:
            obstore.put(store, key, what if isinstance(what, bytes) else what.read_bytes())
        return f"{bucket}/{key}"

    return put
