"""Frozen networks and fixed features that turn tiles into embeddings; the only home of torch."""

import os

from embedstore.extractors.catalogue import CatalogueEntry, catalogue
from embedstore.extractors.config import ExtractorConfig
from embedstore.extractors.custom import CustomNetwork
from embedstore.extractors.extractor import Extractor
from embedstore.extractors.extractor_tables import read_extractors
from embedstore.extractors.load import ExtractorDescription, describe_extractor, embedding_dim, load_extractor
from embedstore.extractors.stream import BatchStream
from embedstore.extractors.text_tower import TextTower
from embedstore.extractors.torch_runtime import check_device, release_memory

__all__ = [
    "BatchStream",
    "CatalogueEntry",
    "CustomNetwork",
    "Extractor",
    "ExtractorConfig",
    "ExtractorDescription",
    "TextTower",
    "catalogue",
    "check_device",
    "describe_extractor",
    "embedding_dim",
    "load_extractor",
    "read_extractors",
    "release_memory",
]

#: Threads of torch sleep while they wait for each other (OpenMP, read when torch is imported). By default they spin,
#: and where other programs have the cores, for one that is not running: 10 to 30 times the CPU time.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
