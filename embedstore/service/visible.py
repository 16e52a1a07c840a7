"""What one caller sees of a store: the slides of their project, and the columns that are shown."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Annotated, Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
from fastapi import Depends, Request, params
from fastapi.dependencies.utils import get_flat_params

from embedstore.api import Collection
from embedstore.errors import ConfigError, SlideNotInStoreError
from embedstore.search.filters import check_filter, select_slides
from embedstore.service.failures import without_paths
from embedstore.service.security import Caller, Role, needs
from embedstore.service.service import Service, service_of

T = TypeVar("T")

#: Columns that name files of the server, or tell of them.
HIDDEN_COLUMNS = frozenset({"path", "fingerprint", "key", "run_id", "vector"})


class Visible:
    """The store as one caller sees it. Routes reach slides, and show what they found, through this alone.

    Attributes:
        caller: Who asks.
        service: What is asked.
    """

    def __init__(self, service: Service, caller: Caller):
        self.service, self.caller = service, caller
        self._slides: frozenset[str] | None = None

    async def run(self, work: str, request: Request, function: Callable[[], T]) -> T:
        """Call a function in a thread of a kind of work: `reads`, `searches`, `writes`, … of `Limits`."""
        limits = self.service.limits
        return await limits.run(getattr(limits, work), request, function)

    # -- on the way in ----------------------------------------------------------------------

    def slides(self) -> frozenset[str] | None:
        """Ids of the slides that the caller sees; None for all."""
        if self.caller.project is None:
            return None
        if self._slides is None:
            tables = self.service.tables
            names = tables.collection_names()
            found = select_slides(tables, tables.collection(names[0]), self.caller.project) if names else []
            self._slides = frozenset(found)
        return self._slides

    def slide(self, slide_id: str) -> str:
        """The id of a slide in the store, given the id that the caller knows it by.

        Raises:
            SlideNotInStoreError: the caller sees no such slide.
        """
        visible = self.slides()
        if visible is not None and slide_id not in visible:
            raise SlideNotInStoreError(f"no slide {slide_id!r} in the store; GET /api/slides lists them")
        if visible is None:
            self.service.tables.ledger.resolve_slides(slides=[slide_id])
        return slide_id

    def require_slides(self, slide_ids: Iterable[str]) -> None:
        """Check that the caller sees all of some slides of the store.

        Raises:
            SlideNotInStoreError: one of them is not visible.
        """
        visible = self.slides()
        if visible is not None and not set(slide_ids) <= visible:
            raise SlideNotInStoreError("there is no such tile in the store")

    def where(self, where: str | None) -> str | None:
        """A filter of the caller, and the project's.

        Raises:
            ConfigError: it is not one condition.
        """
        project = self.caller.project
        if project is None:
            return where
        if where is None:
            return project
        check_filter(where)
        return f"({project}) AND (\n{where}\n)"  # a comment ends with its line

    # -- on the way out ---------------------------------------------------------------------

    def table(self, table: pa.Table) -> pa.Table:
        """Rows as the caller sees them: of visible slides, without columns that tell of the server."""
        hidden = HIDDEN_COLUMNS & set(table.column_names)
        table = table.drop_columns(sorted(hidden)) if hidden else table
        visible = self.slides()
        if visible is not None and "slide_id" in table.column_names:
            table = table.filter(pc.is_in(table["slide_id"], value_set=pa.array(sorted(visible), pa.string())))
        return table

    def slide_table(self, columns: Sequence[str] | None = None) -> pa.Table:
        """The slides that the caller sees, a row each; all columns that are shown when None."""
        ledger = self.service.tables.ledger
        names = columns or [name for name in ledger.slide_schema().names if name not in HIDDEN_COLUMNS]
        return self.table(ledger.slide_table(names))

    def select_slides(self, where: str) -> list[str]:
        """Ids of the visible slides for which a condition over the columns of slides holds.

        Raises:
            ConfigError: the condition is not valid.
        """
        tables = self.service.tables
        names = tables.collection_names()
        return select_slides(tables, tables.collection(names[0]), self.where(where) or where) if names else []

    def slide_counts(self, collection: Collection) -> dict[str, int]:
        """{slide that the caller sees: number of its tiles}."""
        counts, visible = collection.slides, self.slides()
        return counts if visible is None else {name: tiles for name, tiles in counts.items() if name in visible}

    def summary(self, collection: Collection) -> dict[str, Any]:
        """What a collection holds, in numbers; slides and tiles are those that the caller sees."""
        counts = self.slide_counts(collection)
        return {**asdict(collection.summary()), "slides": len(counts), "tiles": sum(counts.values())}

    def filter_columns(self, collection: Collection) -> dict[str, str]:
        """{column that a filter may name: where it comes from}."""
        return {name: origin for name, origin in collection.filter_columns().items() if name not in HIDDEN_COLUMNS}

    def row(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """One row as the caller sees it, or its slide's error.

        Raises:
            SlideNotInStoreError: it is of a slide that is not visible.
        """
        if row.get("slide_id") is not None:
            self.require_slides([row["slide_id"]])
        return {name: value for name, value in row.items() if name not in HIDDEN_COLUMNS}

    def shown_id(self, slide_id: str) -> str:
        """The id by which the caller knows a slide."""
        return slide_id

    def shown_columns(self, columns: Iterable[str]) -> list[str]:
        """Columns of slides that a caller asked for.

        Raises:
            ConfigError: one of them is not shown.
        """
        columns = list(columns)
        if hidden := HIDDEN_COLUMNS & set(columns):
            raise ConfigError(
                f"slides have no column {sorted(hidden)[0]!r} to show; GET /api/slides shows those they have"
            )
        return columns

    def text(self, text: str) -> str:
        """A message of the library as the caller may read it."""
        return without_paths(text)

    # -- what is kept of it -----------------------------------------------------------------

    def looked(self, slide_id: str, action: str) -> None:
        """Note that the caller looked at a slide."""

    def changed(self, action: str, *, slides: Iterable[str] = (), **detail: Any) -> None:
        """Note that the caller changes the store; called before the change."""


def sees(role: Role) -> Any:
    """The dependency of a route: its caller must have a role; the route gets the store as this caller sees it."""

    async def dependency(request: Request, caller: Annotated[Caller, needs(role)]) -> Visible:
        _require_known_parameters(request)
        visible = Visible(service_of(request), caller)
        request.state.shown_message = visible.text
        return visible

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
