"""Where the slides of a store lie, for pictures of them: looked up anew whenever the table of slides changes."""

import threading
from collections.abc import Callable

import pyarrow as pa

from embedstore.errors import SlideNotInStoreError
from embedstore.service.pictures.slide_file import SlideFile
from embedstore.store import Store

COLUMNS = ("slide_id", "path", "kind", "slide_mpp")


class SlideFiles:
    """The files of a store's slides; a slide that is taken out of the store is gone from here at once."""

    def __init__(self, tables: Store, *, on_change: Callable[[frozenset[str]], None] | None = None):
        """Know none yet.

        Args:
            tables: The store.
            on_change: Called with the paths of all slides when the table of slides has changed.
        """
        self._tables, self._on_change = tables, on_change
        self._table: pa.Table | None = None
        self._rows: dict[str, int] = {}
        self._files: dict[tuple[str, str], SlideFile] = {}
        self._lock = threading.Lock()

    def get(self, slide_id: str, *, shown_id: str | None = None) -> SlideFile:
        """The file of a slide.

        Args:
            slide_id: Its id in the store.
            shown_id: What it is called in errors, where that is not its id.
        Raises:
            SlideNotInStoreError: the store has no such slide.
        """
        name = shown_id or slide_id
        with self._lock:
            table = self._tables.ledger.slide_table(COLUMNS)
            changed = table is not self._table  # the ledger gives the same table until it changes
            if changed:
                rows = dict(zip(table["slide_id"].to_pylist(), range(len(table)), strict=True))
                self._table, self._rows, self._files = table, rows, {}
            row = self._rows.get(slide_id)
            file = self._files.get((slide_id, name))
        if changed and self._on_change is not None:
            self._on_change(frozenset(filter(None, table["path"].to_pylist())))
        if row is None:
            raise SlideNotInStoreError(f"no slide {name!r} in the store; GET /api/slides lists them")
        if file is None:
            path, kind, mpp = (table[column][row].as_py() for column in COLUMNS[1:])
            readers = (outcome.reader for outcome in self._tables.ledger.outcomes(slide_id=slide_id))
            reader = next(filter(None, readers), "auto")
            file = SlideFile(name=name, path=path or "", kind=kind or "wsi", reader=reader, mpp=mpp)
            with self._lock:
                if self._table is table:
                    self._files[slide_id, name] = file
        return file
