"""The folder of this machine for what programs can make anew."""

import os
import sys
import tempfile
from pathlib import Path


def cache_folder() -> Path:
    """Where copies of vectors and of slides are kept: EMBEDSTORE_CACHE, or the user's folder for such things."""
    if given := os.environ.get("EMBEDSTORE_CACHE"):
        return Path(given).absolute()
    if given := os.environ.get("LOCALAPPDATA") or os.environ.get("XDG_CACHE_HOME"):
        return Path(given) / "embedstore"
    try:
        home = Path.home()
    except RuntimeError:  # the user has none
        home = Path(tempfile.gettempdir())
    return home / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "embedstore"
