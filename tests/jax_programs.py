"""Compiled programs of processes that tests end.

JAX writes a program to its cache piece by piece. A process that is ended meanwhile leaves a part, which every later
process reads in vain, and compiles again.
"""

import contextlib
import os
import shutil
from pathlib import Path


def own_programs(folder: Path) -> str:
    """A cache for processes that may be ended, which begins with what there is; for JAX_COMPILATION_CACHE_DIR."""
    import jax  # noqa: F401  # which reads now where this process keeps its own

    own = folder / "jax"
    own.mkdir()
    for file in Path(os.environ["JAX_COMPILATION_CACHE_DIR"]).glob("*-cache"):
        with contextlib.suppress(OSError):  # another process lets it go
            shutil.copy(file, own)
    return str(own)
