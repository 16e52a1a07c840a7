"""The kinds of jobs by their names.

Each says what it is asked for, what is checked before it waits, what it does, and what it may leave.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from embedstore.config import require
from embedstore.errors import ConfigError
from embedstore.service.jobs.check_kinds import Check, Evaluate, FitAgain
from embedstore.service.jobs.encode_kind import EncodeSlides
from embedstore.service.jobs.export_kind import Export
from embedstore.service.jobs.head_kinds import Fit, FitAugmenter, Predict, SelectExtractor
from embedstore.service.jobs.kind import JobKind
from embedstore.service.jobs.upkeep_kinds import Compact, MakeMap, UpdateIndex
from embedstore.service.jobs.words_kind import ZeroShot
from embedstore.settings import check_settings
from embedstore.typed_values import guess

_KINDS: tuple[type[JobKind], ...] = (
    Fit, FitAgain, Predict, ZeroShot, Evaluate, Export, Check, Compact, UpdateIndex, FitAugmenter, SelectExtractor,
    MakeMap, EncodeSlides,
)  # fmt: skip
KINDS: dict[str, type[JobKind]] = {kind.NAME: kind for kind in _KINDS}


def job_kind(name: str, params: Mapping[str, Any]) -> JobKind:
    """A job of a kind by its name, with its parameters.

    Raises:
        ConfigError: there is no such kind or parameter, or a value of another type.
    """
    if name not in KINDS:
        raise ConfigError(f"no kind of job {name!r}; expected one of {', '.join(KINDS)}{guess([name], KINDS)}")
    kind = KINDS[name]
    check_settings(kind, params)
    for each in dataclasses.fields(kind):
        no_default = each.default is each.default_factory is dataclasses.MISSING
        require(not no_default or each.name in params, f"a job {name!r} needs {each.name}, which is missing")
    return kind(**params)
