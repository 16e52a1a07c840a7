"""embedstore: an embedding database for whole-slide pathology."""

__version__ = "0.1.0"
