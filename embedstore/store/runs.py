"""The runs of a store: which ingests write to it now, how far they are, and how earlier ones ended."""

import datetime as dt
import getpass
import json
import os
import socket
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

from embedstore import process_identity
from embedstore.errors import StoreBusyError
from embedstore.process_identity import this_process
from embedstore.store import liveness
from embedstore.store.liveness import EXPIRY_S, Observer
from embedstore.store.schema import RUNS
from embedstore.store.sql import sql_in, sql_string
from embedstore.store.table import Caches, Table, now
from embedstore.store.written_names import written_names

#: `lost`: its process died; no row says so, but whoever reads the row can tell.
RunState = Literal["running", "done", "stopped", "failed", "lost"]
#: Versions of the table between two clean-ups.
TIDY_EVERY = 64
#: Runs that have ended and are kept.
KEPT_RUNS = 1000
#: Pause between two looks at a run that may be dead, seconds.
LOOK_S = 1.0
#: What runs read of each other, again and again.
_ALL_BUT_SETTINGS = [name for name in RUNS.names if name != "settings"]
#: Runs of this process that have not ended.
_running_here: set[str] = set()


def _user() -> str | None:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return None


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run of an ingest, into the collections of one tiling.

    Attributes:
        user, host, pid: Who runs it, and where.
        process: What tells its process from all others.
        version: Of embedstore.
        settings: Its configuration, without the slides.
        started_at, ended_at: UTC.
        beat: When its row was last written; see `liveness`.
        slides: Slides to do; those that were there before are not among them.
        done, failed, empty: How many of them have ended, and how.
        elsewhere: How many of them other runs have done.
        tiles: Tiles embedded.
        tiles_per_s: From the first tile to the last.
        left_s: Estimated seconds to its end.
        seconds: How long it has run.
        in_hand: Slides that it is working on, or takes up next.
        error: What it failed with.
    """

    run_id: str
    collections: tuple[str, ...]
    state: RunState = "running"
    user: str | None = field(default_factory=_user)
    host: str = field(default_factory=socket.gethostname)
    pid: int = field(default_factory=os.getpid)
    process: str | None = field(default_factory=this_process)
    version: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    started_at: dt.datetime = field(default_factory=now)
    beat: dt.datetime = field(default_factory=now)
    ended_at: dt.datetime | None = None
    slides: int = 0
    done: int = 0
    failed: int = 0
    empty: int = 0
    elsewhere: int = 0
    tiles: int = 0
    tiles_per_s: float = 0.0
    left_s: float | None = None
    seconds: float = 0.0
    in_hand: tuple[str, ...] = ()
    error: str | None = None

    def lives(self) -> bool | None:
        """Whether its process goes on with it; None where it cannot be told from here."""
        if self.state != "running":
            return False
        if self.process is not None and self.process == this_process():
            return self.run_id in _running_here
        return process_identity.runs(self.process)

    def as_seen(self) -> "Run":
        """The run with the state `lost` if it is dead, as far as can be told at once."""
        lives = self.lives()
        if self.state != "running" or lives or (lives is None and not liveness.is_stale(self.beat)):
            return self
        return replace(self, state="lost")

    def row(self) -> dict[str, Any]:
        """{column: value} of the table."""
        row = {each.name: getattr(self, each.name) for each in fields(self)}
        return row | {
            "collections": list(self.collections),
            "in_hand": list(self.in_hand),
            "settings": json.dumps(dict(self.settings), ensure_ascii=False),
        }

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> "Run":
        known = {each.name: row[each.name] for each in fields(cls) if each.name in row}
        return cls(
            **known
            | {
                "collections": tuple(row["collections"] or ()),
                "in_hand": tuple(row["in_hand"] or ()),
                "settings": json.loads(row.get("settings") or "{}"),
            }
        )

    def __str__(self) -> str:
        return f"run {self.run_id} (process {self.pid} on {self.host})"


class Runs:
    """The table `runs` of a store."""

    def __init__(self, store_uri: str, caches: Caches | None = None):
        self._table = Table(store_uri, "runs", caches)

    def begin(self, run: Run) -> frozenset[str]:
        """Write the first row of a run, and say of runs that died that they are lost.

        It must be there before the run asks for the lease of a collection: see `require_none`.

        Returns:
            Ids of the runs that have ended.
        """
        _running_here.add(run.run_id)
        try:
            return self._begin(run)
        except BaseException:
            self.left(run.run_id)
            raise

    def _begin(self, run: Run) -> frozenset[str]:
        self._table.create(RUNS)
        gone = [replace(each, state="lost", in_hand=()) for each in self._running() if each.lives() is False]
        self._table.upsert("run_id", [each.row() for each in (*gone, run)])
        rows = self._table.rows(columns=["run_id", "state", "started_at"])
        ended = sorted((row["started_at"], row["run_id"]) for row in rows if row["state"] != "running")
        if len(ended) > KEPT_RUNS + TIDY_EVERY:
            self._table.delete(sql_in("run_id", [run_id for _, run_id in ended[:-KEPT_RUNS]]))
        return frozenset(run_id for _, run_id in ended)

    def record(self, run: Run) -> None:
        """Write how far a run is, or that it has ended."""
        self._table.upsert("run_id", [run.row()])
        if self._table.open().version % TIDY_EVERY == 0:
            self._table.tidy(keep_s=EXPIRY_S)

    def left(self, run_id: str) -> None:
        """Say that this process goes on with a run no more, whatever its row says."""
        _running_here.discard(run_id)

    def all(self) -> list[Run]:
        """All runs, the newest first."""
        runs = map(Run.from_row, self._table.rows())
        return sorted(runs, key=lambda run: run.started_at, reverse=True)

    def _running(self) -> list[Run]:
        return [Run.from_row(row) for row in self._table.rows(where="state = 'running'")]

    def others(
        self, collections: Collection[str], observer: Observer, *, but: str | None = None
    ) -> tuple[list[Run], set[str]]:
        """The runs that write to some of these collections and are not known to be dead, and the ids of all runs.

        Args:
            observer: What has seen their beats before.
            but: A run that is left out.
        """
        asked_at = time.monotonic()
        rows = [row for row in self._table.rows(columns=_ALL_BUT_SETTINGS) if row["run_id"] != but]
        running = [Run.from_row(row) for row in rows if row["state"] == "running"]
        writing = [
            run
            for run in running
            if not set(collections).isdisjoint(run.collections) and not self._is_dead(run, observer, asked_at)
        ]
        return writing, {row["run_id"] for row in rows}

    @staticmethod
    def _is_dead(run: Run, observer: Observer, asked_at: float) -> bool:
        silent = observer.is_dead(run.run_id, run.beat, asked_at=asked_at)
        return silent or run.lives() is False

    def require_none(self, collections: Collection[str]) -> None:
        """Check that no run writes to these collections; one that may be dead is watched until that is sure.

        The caller holds their leases. A run writes its first row before it asks for a lease, so that none begins to
        write without being seen here or finding what the caller leaves.

        Raises:
            StoreBusyError: there is one.
        """
        observer, ends = Observer(), time.monotonic() + EXPIRY_S + LOOK_S
        while live := self.others(collections, observer)[0]:
            sure = [run for run in live if not observer.may_be_dead(run.run_id, run.beat)]
            if sure or time.monotonic() > ends:
                run = (sure or live)[0]
                raise StoreBusyError(
                    f"{run} has been adding slides to {', '.join(run.collections)} since "
                    f"{run.started_at:%Y-%m-%d %H:%M:%S} UTC; wait for it to end, or stop it and run this again "
                    f"(`embedstore status --watch` shows it; if it died on another machine, that is known "
                    f"{EXPIRY_S:.0f} s later)"
                )
            time.sleep(LOOK_S)

    def forget(self, names: Sequence[str]) -> None:
        """Remove the names of slides or patients from runs that have ended or died. Files keep them until `tidy`."""
        if not names or not self._table.exists():
            return
        named, _ = written_names(names)

        def cleared(table: Table) -> list[dict[str, Any]]:
            rows = []
            for row in table.rows():
                clean = {**row, "in_hand": []} if not set(names).isdisjoint(row["in_hand"] or ()) else dict(row)
                if named.search(row["error"] or ""):
                    clean["error"] = "it named a slide that was removed"
                if clean != row:
                    rows.append(clean)
            return rows

        self._table.revise("run_id", cleared)

    def get(self, run_id: str) -> Run | None:
        """A run by its id; None if there is none."""
        rows = self._table.rows(where=f"run_id = {sql_string(run_id)}")
        return Run.from_row(rows[0]) if rows else None

    def tidy(self, *, keep_s: float) -> None:
        """Merge small files and delete versions older than `keep_s` seconds."""
        if self._table.exists():
            self._table.tidy(keep_s=keep_s, purge=True)
