"""Candidates for an extractor: a sample of stored tiles through each of them, in one pass over the pixels."""

from embedstore.candidates.changes import CHANGES
from embedstore.candidates.embed_sample import embed_sample
from embedstore.candidates.trial import Embedded, NotTried, Trial

__all__ = ["CHANGES", "Embedded", "NotTried", "Trial", "embed_sample"]
