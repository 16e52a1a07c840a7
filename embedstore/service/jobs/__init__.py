"""Background jobs: what they are, the process that runs them, and their queue."""

from embedstore.service.jobs.check_kinds import MOST_SAMPLE, Check, FitAgain
from embedstore.service.jobs.export_kind import Export
from embedstore.service.jobs.head_kinds import Fit, FitAugmenter, Predict, SelectExtractor
from embedstore.service.jobs.kind import JobKind, Workplace
from embedstore.service.jobs.kinds import KINDS, job_kind
from embedstore.service.jobs.manager import JobManager
from embedstore.service.jobs.spool import SpooledFile
from embedstore.service.jobs.upkeep_kinds import Compact, MakeMap, UpdateIndex

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
