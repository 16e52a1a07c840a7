"""Compiled programs of processes that tests end.

JAX writes a program to its cache in two steps. A process that is ended between them leaves a cache of which JAX warns
from then on, in every process that compiles; and warnings are errors in tests.
"""

import os
import shutil
from pathlib import Path


def own_programs(folder: Path) -> str:
    """A cache for processes that may be ended, which begins with what there is; for JAX_COMPILATION_CACHE_DIR."""
    import jax  # noqa: F401  # which reads now where this process keeps its own

    own = folder / "jax"
    own.mkdir()
    for file in Path(os.environ["JAX_COMPILATION_CACHE_DIR"]).glob("*-cache"):
        try:
            shutil.copy(file, own)
            shutil.copy(file.with_name(file.name.removesuffix("-cache") + "-atime"), own)
        except OSError:  # another process lets it go, or is about to write it
            (own / file.name).unlink(missing_ok=True)
    return str(own)
