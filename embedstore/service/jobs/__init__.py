"""Background jobs: what they are, the process that runs them, and their queue."""

from embedstore.service.jobs.check_kinds import MOST_SAMPLE, Check, FitAgain
from embedstore.service.jobs.kind import JobKind, Workplace
from embedstore.service.jobs.kinds import (
    KINDS,
    Compact,
    Export,
    Fit,
    FitAugmenter,
    MakeMap,
    Predict,
    SelectExtractor,
    UpdateIndex,
    job_kind,
)
from embedstore.service.jobs.manager import JobManager
from embedstore.service.jobs.spool import SpooledFile

__all__ = [
    "KINDS",
    "MOST_SAMPLE",
    "Check",
    "Compact",
    "Export",
    "Fit",
    "FitAgain",
    "FitAugmenter",
    "JobKind",
    "JobManager",
    "MakeMap",
    "Predict",
    "SelectExtractor",
    "SpooledFile",
    "UpdateIndex",
    "Workplace",
    "job_kind",
]
