"""Pseudonyms of slides and patients: a keyed hash of the name, which whoever has not the key cannot follow back."""

import base64
import hashlib
import hmac
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path, PurePath
from typing import Any, Literal

import pyarrow as pa

from embedstore.errors import ConfigError, StoreError
from embedstore.service.security.name_finder import NameFinder
from embedstore.store import Store

Kind = Literal["slide", "patient", "file"]

#: Letters of a pseudonym: 50 bits, so that two of a million slides share one in a store of two thousand at worst.
LETTERS = 10
SHORTEST_KEY = 16
#: Where a long text lost its middle, with the halves of words at either side.
_CUT = re.compile(r"\S* ?… ?\S*")
#: What stands for a name that nobody has, in a filter.
NOBODY = "(nobody has this pseudonym)"


@dataclass(frozen=True, kw_only=True)
class _Names:
    """The names of one version of the store.

    Attributes:
        slides, patients: {pseudonym: name}.
        finder: Finds the names in a text.
    """

    version: tuple[int, ...] = ()
    slides: Mapping[str, str] = field(default_factory=dict)
    patients: Mapping[str, str] = field(default_factory=dict)
    finder: NameFinder = field(default_factory=lambda: NameFinder({}))


class Pseudonyms:
    """Gives slides, patients and files of a store their pseudonyms, and takes them back.

    Args:
        tables: The store.
        key: With the same key a name has the same pseudonym.
    """

    def __init__(self, tables: Store, key: bytes):
        self._tables = tables
        self.shown: Callable[[Kind, str], str] = lru_cache(maxsize=100_000)(lambda kind, name: _hashed(key, kind, name))
        self._names, self._lock = _Names(), threading.Lock()

    # -- on the way in ----------------------------------------------------------------------

    def slide(self, pseudonym: str) -> str | None:
        """The slide of a pseudonym; None where there is none."""
        return self._known().slides.get(pseudonym)

    def patient(self, pseudonym: str) -> str | None:
        """The patient of a pseudonym; None where there is none."""
        return self._known().patients.get(pseudonym)

    # -- on the way out ---------------------------------------------------------------------

    def table(self, table: pa.Table) -> pa.Table:
        """A table whose columns of slides, patients and files are in pseudonyms."""
        of_slides = "slide_id" in table.column_names
        for position, name in enumerate(table.column_names):
            kind = kind_of(name, of_slides)
            if kind is not None:
                table = table.set_column(position, name, mapped(table.column(name), partial(self._value, kind)))
        return table

    def row(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """A row whose slides, patients and files are in pseudonyms."""
        return {name: self._value(kind_of(name, "slide_id" in row), value) for name, value in row.items()}

    def text(self, text: str, known: str = "") -> str:
        """A text for people in which names of slides and patients are replaced; of a shortened one, what was cut.

        Args:
            known: What the reader has written; see `NameFinder.replaced`.
        """
        return self._known().finder.replaced(_CUT.sub("…", text), known)

    def _value(self, kind: Kind | None, value: Any) -> Any:
        if kind is None or value is None:
            return value
        if isinstance(value, list | tuple):
            return [self._value(kind, each) for each in value]
        if not isinstance(value, str) or not value:
            return value
        return self.shown(kind, value)

    # -- the names --------------------------------------------------------------------------

    def _known(self) -> _Names:
        ledger, labels = self._tables.ledger, self._tables.labels
        version = (ledger.version(), labels.version())
        with self._lock:
            if self._names.version != version:
                known = ledger.slide_table(["slide_id", "patient", "path"])
                paths = [path or "" for path in known["path"].to_pylist()]
                slides = dict(zip(known["slide_id"].to_pylist(), paths, strict=True))
                labelled = labels.table(columns=["slide_id", "patient"])
                slides |= dict.fromkeys(_texts(labelled["slide_id"]) - slides.keys(), "")
                patients = _texts(known["patient"]) | _texts(labelled["patient"])
                self._names = _Names(
                    version=version,
                    slides=self._reversed("slide", slides),
                    patients=self._reversed("patient", patients),
                    finder=self._finder(slides, patients),
                )
            return self._names

    def _reversed(self, kind: Kind, names: Iterable[str]) -> dict[str, str]:
        found: dict[str, str] = {}
        for name in names:
            pseudonym = self.shown(kind, name)
            if pseudonym in found:
                raise StoreError(
                    f"two {kind}s have the pseudonym {pseudonym}; give the service another key with --pseudonym-key"
                )
            found[pseudonym] = name
        return found

    def _finder(self, slides: Mapping[str, str], patients: Iterable[str]) -> NameFinder:
        names = {name: self.shown("patient", name) for name in patients}
        for slide_id, path in slides.items():  # a message names the file, with its ending or without
            for text in (path, slide_id):
                file = PurePath(text)
                names |= dict.fromkeys((file.stem, file.name), self.shown("slide", slide_id))
        names |= {name: self.shown("slide", name) for name in slides}
        return NameFinder({repr(name)[1:-1]: shown for name, shown in names.items()} | names)


def read_key(tables: Store, file: Path | None) -> bytes:
    """The key of a store's pseudonyms: what a file holds, or what the store keeps.

    Raises:
        ConfigError: the file cannot be read, or is too short to be a key.
    """
    if file is None:
        return tables.secrets.get("pseudonyms")
    try:
        key = file.read_bytes().strip()
    except OSError as error:
        raise ConfigError(f"pseudonym_key {file} cannot be read: {error.strerror}") from error
    if len(key) < SHORTEST_KEY:
        raise ConfigError(
            f"pseudonym_key {file} holds {len(key)} bytes; expected at least {SHORTEST_KEY}, such as those of "
            "`openssl rand -hex 32`"
        )
    return key


def kind_of(column: str, of_slides: bool) -> Kind | None:
    """What the texts of a column name; None for one that names neither slides nor patients nor files.

    Args:
        of_slides: The table has a column of slides; in another, a name is that of a head or of a token.
    """
    if column in ("slide_id", "slide", "slides") or column.endswith(("_slide_id", "_slide")):
        return "slide"
    if column in ("patient", "patients") or column.endswith("_patient"):
        return "patient"
    if column == "source" or (of_slides and column in ("name", "file")):
        return "file"
    return None


def _hashed(key: bytes, kind: Kind, name: str) -> str:
    digest = hmac.digest(key, f"{kind}\0{name}".encode("utf-8", "surrogatepass"), hashlib.sha256)
    return f"{kind}-{base64.b32encode(digest)[:LETTERS].decode().lower()}"


def _texts(column: pa.ChunkedArray) -> set[str]:
    return {name for name in column.unique().to_pylist() if name}


def mapped(column: pa.ChunkedArray, function: Callable[[Any], Any]) -> pa.ChunkedArray:
    """A column of texts, or of lists of texts, with a function of each; it is called once for each value there is."""
    if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        return pa.chunked_array([pa.array(map(function, column.to_pylist()), column.type)], column.type)
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return column
    chunks = []
    for chunk in column.dictionary_encode().chunks:
        values = pa.array(map(function, chunk.dictionary.to_pylist()), column.type)
        chunks.append(values.take(chunk.indices))
    return pa.chunked_array(chunks, column.type)
