"""What every kind of job has, and where a job runs."""

import dataclasses
import datetime as dt
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from embedstore.api import Store
from embedstore.config import Settings, as_record
from embedstore.progress import OnProgress
from embedstore.store import Store as StoreTables


@dataclass(frozen=True, kw_only=True, eq=False)
class Workplace:
    """Where a job runs, in the worker.

    Attributes:
        tables: The tables of the store.
        store: The store as Python sees it.
        folder: An empty folder of the job's own, for a file to be downloaded.
        on_progress: Called with how far it has come.
    """

    tables: StoreTables
    store: Store
    folder: Path
    on_progress: OnProgress


@dataclass(frozen=True, kw_only=True)
class JobKind(Settings):
    """What a job is asked for."""

    NAME: ClassVar[str]
    #: Whether it wants a GPU, and is run on the cluster where the service has one; such a job writes no file.
    ON_CLUSTER: ClassVar[bool] = False

    def check(self, tables: StoreTables) -> None:
        """Raise now what can be known now, in the words that the job would fail with."""

    def run(self, at: Workplace) -> dict[str, Any]:
        """Do it, in the worker; returns the result, as JSON."""
        raise NotImplementedError

    def left(self, tables: StoreTables, since: dt.datetime) -> str:
        """What a job that was ended after it began, at `since`, has left in the store."""
        return "nothing was written"

    def params(self) -> dict[str, Any]:
        """The fields that differ from their defaults, as JSON."""
        record = as_record(self)
        defaults = {each.name: each.default for each in dataclasses.fields(self)}
        return {name: value for name, value in record.items() if getattr(self, name) not in (defaults[name], (), {})}
