"""Audits of a collection: duplicate slides, leaks between patients or parts of a split, and outliers."""

from embedstore.search.audits.duplicates import Duplicates, DuplicateSlides, find_duplicates
from embedstore.search.audits.leaks import Leaks, find_leaks
from embedstore.search.audits.outliers import Outliers, find_outliers

__all__ = [
    "DuplicateSlides",
    "Duplicates",
    "Leaks",
    "Outliers",
    "find_duplicates",
    "find_leaks",
    "find_outliers",
]
