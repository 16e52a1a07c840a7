"""Choosing an extractor: real probes of candidates on a labelled proxy task."""

from heads.config import SelectConfig, few_shot_name
from heads.select.candidate_scores import Scores, agreement, auroc, compare
from heads.select.probes import ProbeResult, probe
from heads.select.robustness import consistency, site_index
from heads.select.sample import sample_examples, take
from heads.select.select import select_extractor
from heads.select.selection_report import Agreement, CandidateReport, RankCheck, SelectionReport

__all__ = [
    "Agreement",
    "CandidateReport",
    "ProbeResult",
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
