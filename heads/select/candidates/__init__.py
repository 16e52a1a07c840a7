"""Candidates for an extractor: a sample of stored tiles through each of them, in one pass over the pixels."""

from heads.select.candidates.candidate import CandidateRequest
from heads.select.candidates.embed_candidate import PERTURBATIONS
from heads.select.candidates.embed_sample import embed_sample
from heads.select.candidates.embeddings import CandidateEmbeddings, FailedCandidate, SampleEmbeddings

__all__ = [
    "PERTURBATIONS",
    "CandidateEmbeddings",
    "CandidateRequest",
    "FailedCandidate",
    "SampleEmbeddings",
    "embed_sample",
]
