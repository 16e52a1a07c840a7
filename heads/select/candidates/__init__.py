"""Candidates for an extractor: a sample of stored tiles through each of them, in one pass over the pixels."""

from heads.select.candidates.changes import CHANGES
from heads.select.candidates.embed_sample import embed_sample
from heads.select.candidates.trial import Embedded, NotTried, Trial

__all__ = ["CHANGES", "Embedded", "NotTried", "Trial", "embed_sample"]
