"""The catalogue of faults: what befalls a command, each drawn from a seed and followed by the same check."""

from . import clusters, commands, extractors, machine, object_stores, slides, workers  # noqa: F401  # each adds its kinds
from .catalogue import KINDS, Kind, Skipped

__all__ = ["KINDS", "Kind", "Skipped"]
