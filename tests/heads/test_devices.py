"""Setting JAX up: as often as one likes, and never against the user's own settings."""

from pathlib import Path

import jax
import pytest

from heads.devices import prepare_jax

CACHE, LEAST = "jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs"


@pytest.fixture(autouse=True)
def _settings_as_before(monkeypatch: pytest.MonkeyPatch):
    before = {name: getattr(jax.config, name) for name in (CACHE, LEAST)}
    monkeypatch.setenv("XLA_PYTHON_CLIENT_PREALLOCATE", "true")  # so that it is put back
    yield
    for name, value in before.items():
        jax.config.update(name, value)


def test_programs_are_kept_in_the_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("EMBEDSTORE_CACHE", str(tmp_path))
    monkeypatch.delenv("XLA_PYTHON_CLIENT_PREALLOCATE")
    jax.config.update(CACHE, None)
    for _ in range(2):
        prepare_jax()
        assert getattr(jax.config, CACHE) == str(tmp_path / "embedstore" / "jax")


def test_settings_of_the_user_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    jax.config.update(CACHE, str(tmp_path / "mine"))
    jax.config.update(LEAST, 7.0)
    prepare_jax()
    assert getattr(jax.config, CACHE) == str(tmp_path / "mine") and getattr(jax.config, LEAST) == 7.0
