"""Choosing an extractor: real probes of candidates on a labelled proxy task."""

from heads.config import SelectConfig, few_shot_name
from heads.select.agreement import agreement
from heads.select.compare import Scores, auroc, compare
from heads.select.probes import Outcome, probe
from heads.select.report import Agreement, CandidateReport, RankCheck, SelectionReport
from heads.select.robustness import consistency, site_index
from heads.select.sample import sample_examples, take
from heads.select.select import select_extractor

__all__ = [
    "Agreement",
    "CandidateReport",
    "Outcome",
    "RankCheck",
    "Scores",
    "SelectConfig",
    "SelectionReport",
    "agreement",
    "auroc",
    "compare",
    "consistency",
    "few_shot_name",
    "probe",
    "sample_examples",
    "select_extractor",
    "site_index",
    "take",
]
