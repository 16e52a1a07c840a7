"""embedstore: an embedding database for whole-slide pathology."""

from embedstore.entry import open

__version__ = "0.1.0"

__all__ = ["__version__", "open"]
