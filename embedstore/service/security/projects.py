"""The slides of projects, read again where the ledger has changed."""

import logging
import threading
from dataclasses import dataclass

from embedstore.errors import ConfigError, NotAllowedError
from embedstore.search.filters import project_slides
from embedstore.service.security.name_finder import NameFinder
from embedstore.store import Store

log = logging.getLogger(__name__)

#: Projects whose slides are kept.
KEPT = 100


@dataclass(frozen=True, kw_only=True)
class ProjectSlides:
    """What a project has of a store.

    Attributes:
        slides: Ids of its slides.
        patients: Their patients.
        others: Finds the names of all other slides and patients in a text.
    """

    slides: frozenset[str]
    patients: frozenset[str]
    others: NameFinder


class Projects:
    """Knows which slides a project has."""

    def __init__(self, tables: Store):
        self._tables, self._lock = tables, threading.Lock()
        self._version = -1
        self._kept: dict[str, ProjectSlides] = {}

    def of(self, project: str) -> ProjectSlides:
        """The slides of a project, given its SQL.

        Raises:
            NotAllowedError: it can no longer be asked, as a column was removed: nothing can be seen.
        """
        version = self._tables.ledger.version()
        with self._lock:
            if version == self._version and project in self._kept:
                return self._kept[project]
        try:
            slides = frozenset(project_slides(self._tables, project))
        except ConfigError as error:
            log.warning("a token's project cannot be asked: %s", error)
            raise NotAllowedError(
                "the project of this token asks for columns that the slides no longer have; ask whoever runs the "
                "service for another token"
            ) from error
        by_slide = self._tables.ledger.patients()
        patients = frozenset(patient for name, patient in by_slide.items() if patient is not None and name in slides)
        others = (by_slide.keys() - slides) | ({each for each in by_slide.values() if each} - patients)
        found = ProjectSlides(slides=slides, patients=patients, others=NameFinder(dict.fromkeys(others, "(hidden)")))
        with self._lock:
            if version != self._version or len(self._kept) >= KEPT:
                self._version, self._kept = version, {}
            self._kept[project] = found
        return found
