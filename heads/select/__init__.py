"""Choosing an extractor: probes of candidates on a labelled proxy task."""

from heads.config import SelectConfig
from heads.select.sample import sample_rows
from heads.select.select import select_extractor
from heads.select.selection_report import CandidateReport, RankAgreement, RankCheck, SelectionReport

__all__ = [
    "CandidateReport",
    "RankAgreement",
    "RankCheck",
    "SelectConfig",
    "SelectionReport",
    "sample_rows",
    "select_extractor",
]
