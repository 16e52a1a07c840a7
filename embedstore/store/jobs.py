"""Jobs: what a service does in the background, and what became of it. A row a job, written when its state changes."""

import datetime as dt
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from embedstore.errors import JobNotFoundError
from embedstore.progress import Progress
from embedstore.store.schema import JOBS
from embedstore.store.sql import sql_in, sql_string
from embedstore.store.table import Caches, Table, now
from embedstore.store.written_names import written_names

#: `interrupted`: the server ended before the job did.
JobState = Literal["queued", "running", "done", "failed", "cancelled", "interrupted"]
UNFINISHED: tuple[JobState, ...] = ("queued", "running")
#: Jobs that are kept, the newest first, and for how long.
KEPT_JOBS = 1000
KEPT_DAYS = 90
#: The table is compacted after so many writes: each leaves a file and a version.
TIDY_WRITES = 60
TIDY_KEEP_S = 3600.0
#: Columns that may name slides or patients.
_TEXTS = ("params", "progress", "result", "message")


@dataclass(frozen=True, kw_only=True)
class Job:
    """A job at one moment.

    Attributes:
        id: Its name, letters and digits.
        kind: What it does, such as 'fit'.
        caller: Who asked for it.
        project: Filter on slides that the caller is bound to; None where there is none.
        params: What it was asked for, JSON.
        state: What became of it.
        progress: How far it has come; None before it runs.
        result: What came out, JSON; None unless it is done.
        error: Name of the error that it failed with, of `embedstore.errors`.
        message: What it failed with, or what became of it where it was cancelled or interrupted.
        server: The server that runs it; the name of that server's lease.
        created_at, started_at, ended_at: UTC.
    """

    id: str
    kind: str
    caller: str
    project: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    state: JobState = "queued"
    progress: Progress | None = None
    result: Mapping[str, Any] | None = None
    error: str | None = None
    message: str | None = None
    server: str = ""
    created_at: dt.datetime = field(default_factory=now)
    started_at: dt.datetime | None = None
    ended_at: dt.datetime | None = None

    @property
    def is_finished(self) -> bool:
        return self.state not in UNFINISHED

    def row(self) -> dict[str, Any]:
        """{column: value} of the table of jobs."""
        row = {each.name: getattr(self, each.name) for each in fields(self)}
        progress = None if self.progress is None else asdict(self.progress)
        for name, value in (("params", self.params), ("progress", progress), ("result", self.result)):
            row[name] = None if value is None else json.dumps(value, ensure_ascii=False)
        return row

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> "Job":
        texts = {
            name: None if row[name] is None else json.loads(row[name]) for name in ("params", "progress", "result")
        }
        progress = None if texts["progress"] is None else Progress(**texts["progress"])
        return cls(**{**row, **texts, "progress": progress})


class Jobs:
    """The table `jobs` of a store."""

    def __init__(self, store_uri: str, caches: Caches | None = None):
        self._uri = store_uri
        self._table = Table(store_uri, "jobs", caches)
        self._writes = 0

    def record(self, jobs: Sequence[Job]) -> None:
        """Write jobs; earlier rows of theirs are replaced."""
        if not jobs:
            return
        self._table.create(JOBS)
        self._table.upsert("id", [job.row() for job in jobs])
        self._writes += 1
        if self._writes % TIDY_WRITES == 0:
            self._table.tidy(keep_s=TIDY_KEEP_S)

    def get(self, job_id: str) -> Job:
        """A job by its id.

        Raises:
            JobNotFoundError: there is none.
        """
        rows = self._table.rows(where=f"id = {sql_string(job_id)}")
        if not rows:
            raise JobNotFoundError(f"no job {job_id!r}; it never was, or was removed since; the list of jobs shows all")
        return Job.from_row(rows[0])

    def all(self) -> list[Job]:
        """All jobs, the newest first."""
        return sorted(map(Job.from_row, self._table.rows()), key=lambda job: job.created_at, reverse=True)

    def unfinished(self) -> list[Job]:
        """Jobs that no row says the end of, the oldest first."""
        rows = self._table.rows(where=sql_in("state", UNFINISHED))
        return sorted(map(Job.from_row, rows), key=lambda job: job.created_at)

    def remove_old(self) -> None:
        """Remove finished jobs that are beyond the KEPT_JOBS newest, or older than KEPT_DAYS."""
        rows = self._table.rows(columns=["id", "state", "created_at"])
        rows.sort(key=lambda row: row["created_at"], reverse=True)
        oldest = now() - dt.timedelta(days=KEPT_DAYS)
        self._remove(
            row["id"]
            for place, row in enumerate(rows)
            if row["state"] not in UNFINISHED and (place >= KEPT_JOBS or row["created_at"] < oldest)
        )

    def forget(self, names: Sequence[str]) -> None:
        """Remove finished jobs whose row names one of these slides or patients. Files keep them until `tidy`."""
        if not names:
            return
        named, _ = written_names(names)
        self._remove(
            row["id"]
            for row in self._table.rows(columns=["id", "state", *_TEXTS])
            if row["state"] not in UNFINISHED and any(named.search(row[text] or "") for text in _TEXTS)
        )

    def _remove(self, ids: Iterable[str]) -> None:
        if chosen := list(ids):
            self._table.delete(sql_in("id", chosen))

    def tidy(self, *, keep_s: float) -> None:
        if self._table.exists():
            self._table.tidy(keep_s=keep_s, purge=True)
