"""Writes the access log: changes before they are made, looks at slides in batches."""

import atexit
import logging
import threading
import uuid
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import replace
from typing import Any

from embedstore.access_errors import access_error
from embedstore.errors import AccessError, EmbedStoreError
from embedstore.service.security.caller import Caller
from embedstore.store import AccessRow, Store
from embedstore.store.access_log import Outcome
from embedstore.store.location import require_writable
from embedstore.store.table import now

log = logging.getLogger(__name__)

#: Looks are written so often, seconds.
BATCH_S = 1.0
#: Looks that wait to be written, and that are remembered so that they are written once an hour.
MOST_WAITING, MOST_REMEMBERED = 50_000, 500_000
#: Slides of one change that have a row each; of more, only their number is written.
MOST_SLIDES = 10_000
#: What an action may be about, by the name that it has in the action's detail.
SUBJECTS = ("task", "head", "job", "name", "collection")


class AccessRecorder:
    """Writes who changes the store, and who looks at which slide.

    Args:
        tables: The store whose log it is.
        looks: Write looks, too.
        every: Called with each batch, also where nothing waits to be written.
    """

    def __init__(self, tables: Store, *, looks: bool = True, every: Callable[[], None] = lambda: None):
        self._tables, self._looks, self._every = tables, looks, every
        self._lock, self._writing = threading.Lock(), threading.Lock()
        self._waiting: list[AccessRow] = []
        self._remembered: set[tuple[object, ...]] = set()
        self._hour = 0
        self._failed: AccessError | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def require_writable(self) -> None:
        """Check, before a service starts, that looks can be recorded; otherwise each of them would be refused.

        Raises:
            AccessError: the store can only be read.
        """
        if self._looks:
            try:
                require_writable(self._tables.uri)
            except AccessError as error:
                raise AccessError(
                    f"who looks at which slide cannot be recorded, so nobody could look: {error}; or pass "
                    "--no-access-log to serve it without such a record"
                ) from error

    def start(self) -> None:
        """Write what waits once a second, in a thread."""
        self._thread = threading.Thread(target=self._run, name="access-log", daemon=True)
        self._thread.start()
        atexit.register(self.close)  # no thread may be inside Lance when Python ends

    def close(self) -> None:
        """Write what waits, and end the thread."""
        atexit.unregister(self.close)
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        try:
            self.flush()
        except EmbedStoreError as error:
            log.error("%d rows of the access log are lost: %s", len(self._waiting), error)

    # -- what is written --------------------------------------------------------------------

    def looked(self, caller: Caller, slide_id: str, what: str) -> None:
        """Note that a caller looks at something of a slide; it is written within a second, once an hour.

        Raises:
            AccessError: the log cannot be written, so that nobody may look.
        """
        if self._looks:
            self._note(caller, "look", slide_id=slide_id, detail={"at": what})

    def refused(self, caller: Caller, action: str) -> None:
        """Note that a caller asked for what they may not do; it is written within a second, once an hour."""
        self._note(caller, action, outcome="refused")

    def changed(
        self,
        caller: Caller,
        action: str,
        *,
        slides: Iterable[str] = (),
        detail: Mapping[str, Any] | None = None,
        outcome: Outcome = "allowed",
        request: str | None = None,
    ) -> str:
        """Write that a caller changes the store; returns what names the request in the log.

        Raises:
            AccessError: the log cannot be written, so that nothing may be changed.
        """
        request, detail = request or uuid.uuid4().hex[:12], dict(detail or {})
        rows: list[str | None] = [*slides] or [None]
        if len(rows) > MOST_SLIDES:
            detail["slides"], rows = len(rows), [None]
        subject = next((str(detail.pop(name)) for name in SUBJECTS if detail.get(name) is not None), None)
        at = now()
        self._append(
            [
                AccessRow(
                    at=at, caller=caller.name, by=caller.by, address=caller.address, action=action, slide_id=slide_id,
                    subject=subject, detail=detail, outcome=outcome, request=request,
                )
                for slide_id in rows
            ]
        )  # fmt: skip
        return request

    def flush(self) -> None:
        """Write what waits.

        Raises:
            AccessError: it cannot be written, and goes on waiting.
        """
        with self._writing:
            with self._lock:
                waiting, self._waiting = self._waiting, []
            if not waiting:
                return
            try:
                self._append(_of_slides(waiting, self._tables.ledger.slide_ids()))
            except BaseException:
                with self._lock:
                    self._waiting = [*waiting, *self._waiting]
                raise
            named = {row.slide_id for row in waiting if row.slide_id is not None}
            if removed := named - self._tables.ledger.slide_ids():  # while they were written
                self._tables.access_log.forget(sorted(removed))

    # -- how --------------------------------------------------------------------------------

    def _note(
        self,
        caller: Caller,
        action: str,
        *,
        slide_id: str | None = None,
        detail: Mapping[str, Any] | None = None,
        outcome: Outcome = "allowed",
    ) -> None:
        row = AccessRow(
            caller=caller.name, by=caller.by, address=caller.address, action=action, slide_id=slide_id,
            detail=dict(detail or {}), outcome=outcome,
        )  # fmt: skip
        known = (
            row.caller,
            row.by,
            action,
            slide_id,
            *row.detail.values(),
            row.address if outcome == "refused" else "",
        )
        with self._lock:
            hour = int(row.at.timestamp() // 3600)
            if hour != self._hour or len(self._remembered) >= MOST_REMEMBERED:
                self._hour, self._remembered = hour, set()
            if self._failed is not None and self._waiting and outcome == "allowed":
                raise self._failed
            if known in self._remembered:
                return
            if len(self._waiting) >= MOST_WAITING:
                raise AccessError("the access log cannot keep up; ask again later")
            self._remembered.add(known)
            self._waiting.append(row)

    def _append(self, rows: list[AccessRow]) -> None:
        try:
            self._tables.access_log.append(rows)
        except (EmbedStoreError, OSError, RuntimeError, ValueError) as error:
            told = access_error(error) or error
            self._failed = AccessError(f"the access log cannot be written, so nothing may be seen or changed: {told}")
            raise self._failed from error
        self._failed = None

    def _run(self) -> None:
        told = ""
        while not self._stop.wait(BATCH_S):
            try:
                self.flush()
                self._every()
                told = ""
            except EmbedStoreError as error:  # the next batch tries again, and callers are told
                if str(error) != told:
                    told = str(error)
                    log.warning("%s", told)
            except Exception:
                log.exception("the access log failed")


def _of_slides(rows: list[AccessRow], known: Set[str]) -> list[AccessRow]:
    """Rows without the names of slides that were removed meanwhile."""
    return [row if row.slide_id is None or row.slide_id in known else replace(row, slide_id="removed") for row in rows]
