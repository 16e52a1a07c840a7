"""The columns that a filter may name: of tiles, slides, labels and predictions."""

import difflib
import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import pyarrow as pa

from embedstore.errors import ConfigError
from embedstore.store import Collection, PredictionFacts, Store
from embedstore.store.predictions import PredictionKind, predicted_heads

#: Words of SQL that must be quoted as names.
RESERVED = frozenset(
    ("all", "and", "any", "as", "between", "by", "case", "cast", "cross", "distinct", "else", "end", "exists", "false",
     "from", "group", "having", "in", "inner", "interval", "is", "join", "like", "limit", "not", "null", "on", "or",
     "order", "select", "table", "then", "true", "union", "when", "where", "with")
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column that a filter may name.

    Attributes:
        prefix: The part before the dot: '' for columns of the tile or slide, `label`, or a head's name.
        name: The part after the dot.
        source: The table that holds it: the collection, the ledger of slides, the labels, or a head's predictions.
        per_slide: It has the same value for all tiles of a slide.
        kind: Type of its values.
    """

    prefix: str
    name: str
    source: Literal["tile", "slide", "label"] | PredictionKind
    per_slide: bool
    kind: pa.DataType

    @property
    def path(self) -> str:
        """Its name in a filter, without quotes."""
        return f"{self.prefix}.{self.name}" if self.prefix else self.name

    @property
    def text(self) -> str:
        """Its name in a filter, with quotes where they are needed."""
        return ".".join(_quoted(part) for part in (self.prefix, self.name) if part)

    @property
    def alias(self) -> str:
        """A unique name for it in the tables that a filter is evaluated on."""
        if self.source == "tile":
            return self.name
        if re.fullmatch(r"[a-z][a-z0-9_]*", self.path):
            return self.path
        digest = hashlib.blake2b(self.path.encode(), digest_size=4).hexdigest()
        return f"{re.sub(r'[^a-z0-9]+', '_', self.path.lower()).strip('_')}_{digest}"

    @property
    def origin(self) -> str:
        """Its source, for people."""
        if self.source in ("predictions", "attention"):
            return f"head {self.prefix}"
        return self.source


def _quoted(name: str) -> str:
    plain = re.fullmatch(r"([A-Za-z_][A-Za-z0-9_]*)?", name) and name.lower() not in RESERVED
    return name if plain else '"' + name.replace('"', '""') + '"'


class Columns:
    """The columns that a filter on the tiles of a collection may name.

    Args:
        store: The store of the collection.
        collection: The collection whose tiles are filtered.
        of_slides: Slides are filtered, so that a name that tile and slide both have is the slide's.
    """

    def __init__(self, store: Store, collection: Collection, *, of_slides: bool = False):
        self._store, self._collection, self._of_slides = store, collection, of_slides

    @cached_property
    def _own(self) -> list[Column]:
        """Columns of tiles and slides. What both have are `tile.NAME` and `slide.NAME`."""
        fields: dict[Literal["tile", "slide"], list[pa.Field]] = {
            "tile": [field for field in self._collection.schema if field.name != "vector"],
            "slide": [field for field in self._store.ledger.slide_schema() if field.name != "slide_id"],
        }
        tile, slide = ({field.name.casefold() for field in of_source} for of_source in fields.values())
        return [
            Column(
                prefix=source if field.name.casefold() in tile & slide else "",
                name=field.name, source=source, per_slide=source == "slide" or field.name == "slide_id",
                kind=field.type,
            )
            for source, of_source in fields.items()
            for field in of_source
        ]  # fmt: skip

    @cached_property
    def _labels(self) -> list[Column]:
        return [
            Column(prefix="label", name=task, source="label", per_slide=False, kind=pa.string())
            for task in self._store.labels.tasks()
        ]

    @cached_property
    def _heads(self) -> list[str]:
        return predicted_heads(self._store.tables())

    def _of_head(self, head: str) -> list[Column]:
        """A head's predictions and attention; nothing where it is of another collection."""
        predictions = self._store.predictions(head)
        if not predictions.is_there() or (facts := predictions.facts()).collection != self._collection.name:
            return []
        per_slide = facts.level != "tile"
        kinds = {"label": pa.string()} | dict.fromkeys(facts.columns.values(), pa.float32())
        columns = [
            Column(prefix=head, name=name, source="predictions", per_slide=per_slide, kind=kind)
            for name, kind in kinds.items()
        ]
        if per_slide and self._has_attention(facts):
            columns.append(
                Column(prefix=head, name="attention", source="attention", per_slide=False, kind=pa.float32())
            )  # fmt: skip
        return columns

    def _has_attention(self, facts: PredictionFacts) -> bool:
        attention = self._store.predictions(facts.head, "attention")
        return attention.is_there() and attention.facts().same_head(facts)

    def __iter__(self) -> Iterator[Column]:
        """All columns: of tiles, slides, labels, heads."""
        yield from self._own
        yield from self._labels
        for head in self._heads:
            yield from self._of_head(head)

    def find(self, path: str) -> Column:
        """The column of a name: the only exact match, or the only match without regard to case.

        Args:
            path: The name, its parts joined by dots.
        Raises:
            ConfigError: no column matches, or several; or it is of a head of another collection.
        """
        for group in self._groups(path):
            named = [(name, column) for column in group for name in _names(column)]
            close = [(name, column) for name, column in named if name.casefold() == path.casefold()]
            matches = [column for name, column in close if name == path] or [column for _, column in close]
            if self._of_slides:
                matches = [column for column in matches if column.source != "tile"] or matches
            if len(matches) > 1:
                raise ConfigError(
                    f"{path!r} in the filter may be {' or '.join(column.text for column in matches)}; write it as one "
                    "of these, with the same capitals and double quotes"
                )
            if matches:
                return matches[0]
        raise self._unknown(path)

    def _groups(self, path: str) -> Iterator[Sequence[Column]]:
        """Columns to search for the name; tables of heads are opened only where one is named."""
        yield self._own
        if "." not in path:
            return
        yield self._labels
        heads = [head for head in self._heads if path.casefold().startswith(f"{head.casefold()}.")]
        yield [column for head in heads for column in self._of_head(head)]
        for head in heads:
            facts = self._store.predictions(head).facts()
            if facts.collection != self._collection.name:
                name = self._collection.name
                fits = facts.extractor_digest == self._collection.extractor().digest
                again = f"`embedstore predict --head {head} --collection {name} --replace` predicts these"
                raise ConfigError(
                    f"{path!r} in the filter is of head {head!r}, whose predictions are of collection "
                    f"{facts.collection!r}; the tiles are of collection {name!r}; "
                    f"{again if fits else 'fit a head on these'}, or search the other with --collection "
                    f"{facts.collection}"
                )

    def _unknown(self, path: str) -> ConfigError:
        columns = [column for column in self if column.per_slide or not self._of_slides]
        paths = {name: column for column in columns for name in _names(column)}
        last = {column.name: column for column in columns}
        folded = {name.casefold(): column for name, column in (last | paths).items()}
        near = difflib.get_close_matches(path.casefold(), folded, n=1, cutoff=0.5)
        if not near and "." in path:
            near = difflib.get_close_matches(path.rpartition(".")[2].casefold(), folded, n=1, cutoff=0.5)
        guess = self._without_quotes(path, columns) or (folded[near[0]] if near else None)
        hint = f"; did you mean {guess.text}" if guess else ""
        for head in self._store.heads.names():
            if path.casefold().startswith(f"{head.casefold()}.") and head not in self._heads:
                hint = f"; head {head!r} has predicted nothing yet, `embedstore predict --head {head}` does"
        return ConfigError(
            f"no column {path!r} for the filter of collection {self._collection.name!r}{hint}. Columns are, "
            f"{self._listed(columns)}. Text stands in single quotes, such as name = 'a'"
        )

    def _without_quotes(self, path: str, columns: Sequence[Column]) -> Column | None:
        """A column of a head such as `tumour-linear`, of whose unquoted name SQL read only `tumour`."""
        first = path.partition(".")[0].casefold()
        for column in reversed(columns):  # probabilities come last
            if _quoted(column.prefix) != column.prefix and first in re.split(r"\W+", column.prefix.casefold()):
                return column
        return None

    def _listed(self, columns: Sequence[Column]) -> str:
        by_origin: dict[str, list[str]] = {}
        for column in columns:
            by_origin.setdefault(column.origin, []).append(column.text)
        titles = {"tile": "of the tile", "slide": "of its slide", "label": "of labels"}
        listed = [f"{titles.get(origin, f'of {origin}')}: {', '.join(texts)}" for origin, texts in by_origin.items()]
        missing = [name for name, present in (("labels", self._labels), ("predictions", self._heads)) if not present]
        if missing:
            listed.append(f"no {' and no '.join(missing)}")
        return "; ".join(listed)


class SlideColumns:
    """The columns that a filter on slides alone may name, whatever collections there are: those of the ledger."""

    def __init__(self, store: Store):
        self._columns = [
            Column(
                prefix="", name=field.name, source="tile" if field.name == "slide_id" else "slide", per_slide=True,
                kind=field.type,
            )
            for field in store.ledger.slide_schema()
        ]  # fmt: skip

    def find(self, path: str) -> Column:
        """The column of a name: the only exact match, or the only match without regard to case.

        Raises:
            ConfigError: no column matches, or several.
        """
        name = path.removeprefix("slide.")
        close = [column for column in self._columns if column.name.casefold() == name.casefold()]
        matches = [column for column in close if column.name == name] or close
        if len(matches) == 1:
            return matches[0]
        names = [column.text for column in matches or self._columns]
        wrong = f"no column {path!r} of slides" if not matches else f"{path!r} may be one of several"
        raise ConfigError(f"{wrong}; expected {', '.join(names)}. Text stands in single quotes, such as name = 'a'")


def _names(column: Column) -> tuple[str, ...]:
    """The names that a filter may use for a column."""
    if column.source in ("tile", "slide"):
        return column.name, f"{column.source}.{column.name}"
    return (column.path,)
