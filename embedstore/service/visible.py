"""What one caller sees of a store: the slides of their project, and the columns that are shown."""

import contextlib
import json
import re
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import asdict
from functools import cached_property
from typing import Annotated, Any, TypeVar

import anyio.to_thread
import pyarrow as pa
import pyarrow.compute as pc
from fastapi import Depends, Request, params
from fastapi.dependencies.utils import get_flat_params

from embedstore.api import Collection, Labels
from embedstore.errors import ConfigError, NotAllowedError, SlideNotInStoreError, TileNotFoundError
from embedstore.search.filters import select_slides
from embedstore.service.failures import without_paths
from embedstore.service.security import Caller, Role, needs
from embedstore.service.security.projects import ProjectSlides
from embedstore.service.security.pseudonyms import NOBODY, mapped
from embedstore.service.service import Service, service_of
from embedstore.store import Store as Tables
from embedstore.store.schema import SLIDES
from embedstore.store.sql import clipped

T = TypeVar("T")

#: Columns that name files of the server, or tell of them; nobody may ask for them, nor filter by them.
HIDDEN_COLUMNS = frozenset({"path", "fingerprint", "key", "run_id", "vector"})
#: Columns of messages for people, which may name files, slides and patients.
TEXTS = frozenset({"reason", "warnings", "message", "note", "subject", "detail"})
#: What a filter that failed says of a value.
_REASON = re.compile(r"(cannot be evaluated): .*", re.DOTALL)


class Visible:
    """The store as one caller sees it. Routes reach slides, and show what they found, through this alone.

    Inside, slides have their own ids; the caller may know them, and their patients, by pseudonyms. What comes in goes
    through `slide`, `patient`, `where`, `labels` and `shown_columns`; what goes out through `table`, `slide_table`,
    `row`, `slide_row`, `shown_id`, `text` and `value`.

    Attributes:
        caller: Who asks.
        service: What is asked.
        changes: (action, request) of the access log, of what the caller changes with this request.

    Args:
        request: What the caller sent; names in it are told back as they are, whether there is such a name or not.
    """

    def __init__(self, service: Service, caller: Caller, request: Request | None = None):
        self.service, self.caller = service, caller
        self._request = request
        self._pseudonyms = service.pseudonyms
        self.changes: list[tuple[str, str]] = []
        self._filters: dict[str, str] = {}  # as they were evaluated: as they were given

    async def run(self, work: str, request: Request, function: Callable[[], T]) -> T:
        """Call a function in a thread of a kind of work: `reads`, `searches`, `writes`, … of `Limits`."""
        limits = self.service.limits
        return await limits.run(getattr(limits, work), request, function)

    @cached_property
    def _project(self) -> ProjectSlides | None:
        project = self.caller.project
        return None if project is None else self.service.projects.of(project)

    # -- on the way in ----------------------------------------------------------------------

    def slides(self) -> frozenset[str] | None:
        """Ids of the slides that the caller sees; None for all."""
        return None if self._project is None else self._project.slides

    def slide(self, slide_id: str) -> str:
        """The id of a slide in the store, given the id that the caller knows it by.

        Raises:
            SlideNotInStoreError: the caller sees no such slide.
        """
        real, visible = slide_id, self.slides()
        if self._pseudonyms is not None:
            real = self._pseudonyms.slide(slide_id) or ""
        if visible is None and self._pseudonyms is None:
            self.service.tables.ledger.resolve_slides(slides=[real])  # its error suggests slides of similar names
        elif real not in (self._known_slides() if visible is None else visible):
            raise SlideNotInStoreError(f"no slide {slide_id!r} in the store; GET /api/slides lists them")
        return real

    def slide_list(self, slide_ids: Sequence[str]) -> list[str]:
        """The ids of slides, as of `slide`; the slides of the store are looked at once."""
        known = self.slides()
        known = self._known_slides() if known is None else known
        pseudonyms = self._pseudonyms
        real = list(slide_ids) if pseudonyms is None else [pseudonyms.slide(given) or "" for given in slide_ids]
        for given, name in zip(slide_ids, real, strict=True):
            if name not in known:
                self.slide(given)  # raises
        return real

    def patient(self, patient: str) -> str:
        """The name of a patient in the store, given the name that the caller knows them by.

        Raises:
            SlideNotInStoreError: the caller sees no slide of such a patient.
        """
        real = patient if self._pseudonyms is None else self._pseudonyms.patient(patient)
        if real is None or (self._project is not None and real not in self._project.patients):
            raise SlideNotInStoreError(f"no slide of patient {patient!r} in the store; GET /api/slides lists slides")
        return real

    def labels(self) -> Labels:
        """The labels of the slides that the caller sees, to be read and changed."""
        labels, visible = self.service.store.labels, self.slides()
        return labels if visible is None else labels.of_slides(visible)

    def labels_of(self) -> Tables:
        """The store whose labels are those of the slides that the caller sees; collections and all else are whole."""
        tables, visible = self.service.tables, self.slides()
        return tables if visible is None else tables.of_slides(visible)

    def require_slides(self, slide_ids: Iterable[str]) -> None:
        """Check that the caller sees all of some slides of the store.

        Raises:
            TileNotFoundError: one of them is not visible.
        """
        visible = self.slides()
        if visible is not None and not set(slide_ids) <= visible:
            raise no_tile()

    @property
    def shows_names(self) -> bool:
        """Whether slides and patients are shown by their names, and not by pseudonyms."""
        return self._pseudonyms is None

    def require_names(self, what: str, *, instead: str = "") -> None:
        """Check that names are shown, for a file that has names of slides and patients in it.

        Args:
            instead: Where the same is under pseudonyms, such as "GET /api/… has its rows".
        Raises:
            NotAllowedError: the service shows pseudonyms.
        """
        if not self.shows_names:
            raise NotAllowedError(
                f"{what} holds the names of slides and patients, and this service shows pseudonyms; "
                + (f"{instead} under these, and " if instead else "")
                + "whoever runs the service can make the file with the command line"
            )

    def where(self, where: str | None) -> str | None:
        """A filter of the caller, in real names, and the project's.

        Raises:
            ConfigError: it is not one condition, or asks for what is not shown.
        """
        project = self.caller.project
        if where is None and project is None:
            return None
        from embedstore.search.filters.rewriting import in_real_names, of_slides

        parts = [] if project is None else [of_slides(project)]
        if where is not None:
            parts.append(in_real_names(where, self.is_shown, self._real_names()))
        written = parts[0] if len(parts) == 1 else " AND ".join(f"({part})" for part in parts)
        self._filters[written] = where or "the project"
        return written

    def is_shown(self, column: str) -> bool:
        """Whether the caller may see and name a column, given its name in small letters."""
        if column in HIDDEN_COLUMNS:
            return False
        return self._pseudonyms is None or (column != "name" and column not in self._hidden_own)

    def shown_columns(self, columns: Iterable[str]) -> list[str]:
        """Columns of slides that a caller asked for.

        Raises:
            ConfigError: one of them is not shown.
        """
        columns = list(columns)
        if hidden := [name for name in columns if not self.is_shown(name.casefold())]:
            raise ConfigError(f"slides have no column {hidden[0]!r} to show; GET /api/slides shows those they have")
        return columns

    def select_slides(self, where: str) -> list[str]:
        """Visible slides for which a condition over the columns of slides holds; ids as the caller knows them.

        Raises:
            ConfigError: the condition is not valid.
        """
        tables = self.service.tables
        names = tables.collection_names()
        found = select_slides(tables, tables.collection(names[0]), self.where(where) or where) if names else []
        return [self.shown_id(slide_id) for slide_id in found]

    # -- on the way out ---------------------------------------------------------------------

    def table(self, table: pa.Table, *, vectors: bool = False) -> pa.Table:
        """Rows as the caller sees them: of visible slides, without columns that tell of the server.

        Args:
            vectors: Also with a column of vectors.
        """
        hidden = (HIDDEN_COLUMNS - ({"vector"} if vectors else set())) & set(table.column_names)
        table = table.drop_columns(sorted(hidden)) if hidden else table
        if self._project is not None and "slide_id" in table.column_names:
            seen = pc.is_in(table["slide_id"], value_set=pa.array(sorted(self._project.slides), pa.string()))
            if "patient" in table.column_names:  # a label of a patient is of no slide
                patients = pa.array(sorted(self._project.patients), pa.string())
                of_patient = pc.and_(pc.is_null(table["slide_id"]), pc.is_in(table["patient"], value_set=patients))
                seen = pc.or_(seen, of_patient)
            table = table.filter(seen)
        for name in TEXTS & set(table.column_names):
            texts = mapped(table.column(name), self.value)
            table = table.set_column(table.column_names.index(name), name, texts)
        return table if self._pseudonyms is None else self._pseudonyms.table(table)

    def runs(self, table: pa.Table) -> pa.Table:
        """Rows of ingests: with their ids, and what they failed with and were asked for as the caller may read it."""
        for name, shown in {"error": self.value, "settings": self._settings}.items():
            table = table.set_column(table.column_names.index(name), name, mapped(table[name], shown))
        return self.table(table).add_column(0, "run_id", table["run_id"])

    def _settings(self, settings: str | None) -> str | None:
        """Settings as JSON; their texts may be paths."""
        return settings and json.dumps(self.value(json.loads(settings)), ensure_ascii=False)

    def slide_table(self, columns: Sequence[str] | None = None) -> pa.Table:
        """The slides that the caller sees, a row each; all columns that are shown when None."""
        ledger = self.service.tables.ledger
        names = columns or [name for name in ledger.slide_schema().names if self.is_shown(name.casefold())]
        return self.table(ledger.slide_table(names))

    def row(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """One row, such as a tile's, as the caller sees it.

        Raises:
            TileNotFoundError: it is of a slide that is not visible.
        """
        if row.get("slide_id") is not None:
            self.require_slides([row["slide_id"]])
        shown = {
            name: self.value(value) if name in TEXTS else value
            for name, value in row.items()
            if name not in HIDDEN_COLUMNS
        }
        return shown if self._pseudonyms is None else self._pseudonyms.row(shown)

    def slide_row(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """A slide's row with the columns that are shown. Raises as `row`."""
        return self.row({name: value for name, value in row.items() if self.is_shown(name.casefold())})

    def slide_counts(self, collection: Collection) -> dict[str, int]:
        """{slide that the caller sees: number of its tiles}."""
        counts, visible = collection.slides, self.slides()
        return {self.shown_id(name): n for name, n in counts.items() if visible is None or name in visible}

    def summary(self, collection: Collection) -> dict[str, Any]:
        """What a collection holds, in numbers; slides, tiles and bytes are those that the caller sees."""
        facts, visible = asdict(collection.summary()), self.slides()
        if visible is None:
            return facts
        counts, views = self.slide_counts(collection), self.service.tables.views(collection.name)
        tiles = sum(counts.values())
        held = self.service.tables.map(collection.name)
        map_tiles, slides_off_map = held.coverage(visible & collection.slides.keys())
        seen = {
            "slides": len(counts),
            "tiles": tiles,
            "bytes": facts["bytes"] // max(facts["tiles"], 1) * tiles,
            "slides_with_views": len(visible & views.slides().keys()) if views.exists() else 0,
            "map_tiles": map_tiles,
            "slides_off_map": slides_off_map,
        }
        return facts | seen

    def of_whole_store(self, facts: dict[str, Any]) -> dict[str, Any]:
        """Facts about all tiles of a collection, such as the size of its index; for a project without their numbers."""
        if self._project is None:
            return facts
        return {name: 0 if type(value) in (int, float) else value for name, value in facts.items()}

    def filter_columns(self, collection: Collection) -> dict[str, str]:
        """{column that a filter may name: where it comes from}."""
        columns = collection.filter_columns().items()
        return {name: origin for name, origin in columns if self.is_shown(_own_name(name))}

    def shown_id(self, slide_id: str) -> str:
        """The id by which the caller knows a slide."""
        return slide_id if self._pseudonyms is None else self._pseudonyms.shown("slide", slide_id)

    def shown_filter(self, where: str | None) -> str | None:
        """A filter that somebody else gave, as the caller may read it: it may name what they must not see."""
        hides = where is not None and (self._project is not None or self._pseudonyms is not None)
        return "a filter on slides" if hides else where

    def shown_project(self) -> str | None:
        """The caller's project as they may read it."""
        if self.caller.project is None or self._pseudonyms is None:
            return self.caller.project
        return "a filter on slides"  # which may name patients

    def text(self, text: str) -> str:
        """A message of the library as the caller may read it: without paths, and with names that they know."""
        try:
            project = self._project
        except NotAllowedError as error:
            return str(error)
        uri = self.service.tables.uri
        text = without_paths(text.replace(f"the store {uri}", "the store").replace(uri, "the store"))
        for written, given in self._filters.items():
            text = text.replace(repr(clipped(written)), repr(clipped(given)))
        if project is None and self._pseudonyms is None:
            return text
        text = _REASON.sub(r"\1", text)
        known = self._written
        if project is not None:
            text = project.others.replaced(text, known)
        return text if self._pseudonyms is None else self._pseudonyms.text(text, known)

    def knowing(self, *texts: Any) -> "Visible":
        """The store as the caller sees it who has also written some texts or values of JSON, such as those of a job."""
        seen = copy(self)
        seen._written = " ".join([self._written, *_texts_in(texts)])
        return seen

    @cached_property
    def _written(self) -> str:
        """All that the caller has written, which they may be told again."""
        if self._request is None:
            return ""
        body: Any = getattr(self._request, "_body", b"")  # that FastAPI has read as JSON; others hold no names
        with contextlib.suppress(ValueError):
            body = json.loads(body) if len(body) <= self.service.config.max_json_bytes else ""
        query = self._request.query_params.multi_items()
        return " ".join([self._request.scope["path"], *_texts_in(query), *_texts_in(body)])

    def value(self, value: Any) -> Any:
        """A value of JSON, however nested, such as a card or the outcome of a job, with its texts as of `text`."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {self.text(name): self.value(each) for name, each in value.items()}
        return [self.value(each) for each in value] if isinstance(value, list | tuple) else value

    # -- what is kept of it -----------------------------------------------------------------

    def looked(self, slide_id: str, what: str) -> None:
        """Note that the caller looks at something of a slide, before it is shown.

        Args:
            slide_id: The slide's own id.
            what: Such as `slide`, `thumbnail`, `picture`, `labels`, `predictions`.
        Raises:
            AccessError: the access log cannot be written; nothing may be shown.
        """
        self.service.access_log.looked(self.caller, slide_id, what)

    def changed(self, action: str, *, slides: Iterable[str] = (), **detail: Any) -> None:
        """Write into the access log that the caller changes the store; called before the change, in a thread.

        Args:
            action: A noun and a verb, such as `labels.add`.
            slides: The slides' own ids, where the change is about some slides.
            detail: What it is about: task, head, job, name; and what else was asked for.
        Raises:
            AccessError: the access log cannot be written; nothing may be changed.
        """
        request = self.service.access_log.changed(self.caller, action, slides=slides, detail=detail)
        self.changes.append((action, request))

    def failed(self) -> None:
        """Write that what was to be changed has failed, after all."""
        for action, request in self.changes:
            self.service.access_log.changed(self.caller, action, outcome="failed", request=request)

    # -- pseudonyms -------------------------------------------------------------------------

    @cached_property
    def _hidden_own(self) -> frozenset[str]:
        """Columns of the user's lists of slides that are not shown beside pseudonyms, in small letters."""
        own = set(self.service.tables.ledger.slide_schema().names) - set(SLIDES.names)
        return frozenset(map(str.casefold, own - set(self.service.config.access.show_columns)))

    def _real_names(self) -> dict[str, Callable[[str], str]]:
        pseudonyms = self._pseudonyms
        if pseudonyms is None:
            return {}
        return {
            "slide_id": lambda name: pseudonyms.slide(name) or NOBODY,
            "patient": lambda name: pseudonyms.patient(name) or NOBODY,
        }

    def _known_slides(self) -> frozenset[str]:
        return self.service.tables.ledger.slide_ids()


def no_tile() -> TileNotFoundError:
    """What a caller of a project hears of a tile of another project, and of one that there is not."""
    return TileNotFoundError("there is no such tile in the store")


def _texts_in(value: Any) -> Iterator[str]:
    """All texts of a value of JSON."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, bytes):
        yield value.decode(errors="replace")
    elif isinstance(value, Mapping):
        for name, each in value.items():
            yield name
            yield from _texts_in(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _texts_in(each)


def _own_name(column: str) -> str:
    """The name of a column of tiles or slides as `is_shown` takes it, of its name in a filter."""
    name = column.casefold()
    for prefix in ("slide.", "tile."):
        name = name.removeprefix(prefix)
    return name.strip('"')


def sees(role: Role) -> Any:
    """The dependency of a route: its caller must have a role; the route gets the store as this caller sees it."""

    async def dependency(request: Request, caller: Annotated[Caller, needs(role)]) -> AsyncIterator[Visible]:
        _require_known_parameters(request)
        visible = Visible(service_of(request), caller, request)
        request.state.shown_message = visible.text
        try:
            yield visible
        except Exception as error:
            if visible.changes:
                await anyio.to_thread.run_sync(visible.failed)
            if caller.project is not None and isinstance(error, TileNotFoundError) and str(error).startswith("no tile"):
                raise no_tile() from error  # of another project's tile, and of none, they hear the same
            raise

    return Depends(dependency)


def _require_known_parameters(request: Request) -> None:
    """Raise ConfigError if the query has a parameter that the route does not take, such as a mistyped one."""
    if not request.query_params:
        return
    fields = get_flat_params(request.scope["route"].dependant)
    known = [field.alias for field in fields if isinstance(field.field_info, params.Query)]
    if unknown := [name for name in request.query_params if name not in known]:
        raise ConfigError(
            f"this route takes no parameter {unknown[0]!r}; it takes {', '.join(known) or 'none'} (/api/openapi.json)"
        )


#: The last parameter but those of the query of every route: the store as a caller with this role sees it.
SeenByReader = Annotated[Visible, sees("read")]
SeenByLabeller = Annotated[Visible, sees("label")]
SeenByFitter = Annotated[Visible, sees("fit")]
SeenByAdmin = Annotated[Visible, sees("admin")]
