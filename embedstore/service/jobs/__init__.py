"""Background jobs: what they are, the process that runs them, and their queue."""

from embedstore.service.jobs.kinds import (
    KINDS,
    Compact,
    Export,
    Fit,
    FitAugmenter,
    JobKind,
    Predict,
    SelectExtractor,
    UpdateIndex,
    Workplace,
    job_kind,
)
from embedstore.service.jobs.manager import JobManager
from embedstore.service.jobs.spool import SpooledFile

__all__ = [
    "KINDS",
    "Compact",
    "Export",
    "Fit",
    "FitAugmenter",
    "JobKind",
    "JobManager",
    "Predict",
    "SelectExtractor",
    "SpooledFile",
    "UpdateIndex",
    "Workplace",
    "job_kind",
]
