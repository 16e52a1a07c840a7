"""What a filter may name: everything that is known of a tile, and where it is kept."""

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

#: Words that SQL does not take as names.
RESERVED = frozenset(
    ("all", "and", "any", "as", "between", "by", "case", "cast", "cross", "distinct", "else", "end", "exists", "false",
     "from", "group", "having", "in", "inner", "interval", "is", "join", "like", "limit", "not", "null", "on", "or",
     "order", "select", "table", "then", "true", "union", "when", "where", "with")
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Column:
    """Something that is known of a tile.

    Attributes:
        prefix: What stands before the dot: '' for columns of the tile or slide, `label`, or a head's name.
        name: What stands after it.
        source: What holds it: the collection, the ledger of slides, the labels, or the table of a head.
        per_slide: It is the same for all tiles of a slide.
        kind: Type of its values.
    """

    prefix: str
    name: str
    source: Literal["tile", "slide", "label"] | PredictionKind
    per_slide: bool
    kind: pa.DataType

    @property
    def path(self) -> str:
        """How a filter names it, without quotes."""
        return f"{self.prefix}.{self.name}" if self.prefix else self.name

    @property
    def text(self) -> str:
        """How a filter names it, with quotes where they are needed."""
        return ".".join(_quoted(part) for part in (self.prefix, self.name) if part)

    @property
    def alias(self) -> str:
        """A name of its own among all columns, in tables that are put together for a filter."""
        if re.fullmatch(r"[a-z][a-z0-9_]*", self.path):
            return self.path
        mark = hashlib.blake2b(self.path.encode(), digest_size=4).hexdigest()
        return f"{re.sub(r'[^a-z0-9]+', '_', self.path.lower()).strip('_')}_{mark}"

    @property
    def origin(self) -> str:
        """Where it comes from, for people."""
        if self.source in ("predictions", "attention"):
            return f"head {self.prefix}"
        return self.source


def _quoted(name: str) -> str:
    plain = re.fullmatch(r"([A-Za-z_][A-Za-z0-9_]*)?", name) and name.lower() not in RESERVED
    return name if plain else '"' + name.replace('"', '""') + '"'


class Columns:
    """The columns that a filter on the tiles of a collection may name.

    Args:
        store: Where everything is.
        collection: Whose tiles are filtered.
    """

    def __init__(self, store: Store, collection: Collection):
        self._store, self._collection = store, collection

    @cached_property
    def _own(self) -> list[Column]:
        """Those of tiles and slides. Where both have a name it is the tile's; the slide's is `slide.NAME`."""
        tile = [
            Column(prefix="", name=each.name, source="tile", per_slide=each.name == "slide_id", kind=each.type)
            for each in self._collection.schema
            if each.name != "vector"
        ]
        taken = {column.name.casefold() for column in tile}
        return tile + [
            Column(
                prefix="slide" if each.name.casefold() in taken else "",
                name=each.name, source="slide", per_slide=True, kind=each.type,
            )
            for each in self._store.ledger.slide_schema()
            if each.name != "slide_id"
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
        """What a head said of tiles, or of slides and where it looked; nothing where it is another collection's."""
        said = self._store.predictions(head)
        if not said.exists() or (facts := said.facts()).collection != self._collection.name:
            return []
        per_slide = facts.level != "tile"
        kinds = {"label": pa.string()} | dict.fromkeys(facts.columns.values(), pa.float32())
        found = [
            Column(prefix=head, name=name, source="predictions", per_slide=per_slide, kind=kind)
            for name, kind in kinds.items()
        ]
        if per_slide and self._looked(facts):
            found.append(
                Column(prefix=head, name="attention", source="attention", per_slide=False, kind=pa.float32())
            )  # fmt: skip
        return found

    def _looked(self, facts: PredictionFacts) -> bool:
        attention = self._store.predictions(facts.head, "attention")
        return attention.exists() and attention.facts().head_digest == facts.head_digest

    def __iter__(self) -> Iterator[Column]:
        """All of them: of tiles, slides, labels, heads."""
        yield from self._own
        yield from self._labels
        for head in self._heads:
            yield from self._of_head(head)

    def find(self, path: str) -> Column:
        """The column that a filter names, with upper and lower case as written or, where only one fits, otherwise.

        Args:
            path: The name, its parts joined by dots.
        Raises:
            ConfigError: there is none, or several but for their case; or it is of a head of another collection.
        """
        for group in self._groups(path):
            named = [(name, column) for column in group for name in _names(column)]
            exact = [column for name, column in named if name == path]
            close = [column for name, column in named if name.casefold() == path.casefold()]
            if exact:
                return exact[0]
            if len(close) > 1:
                raise ConfigError(
                    f"{path!r} in the filter may be {' or '.join(column.text for column in close)}; write it as one of "
                    "these, in double quotes"
                )
            if close:
                return close[0]
        raise self._unknown(path)

    def _groups(self, path: str) -> Iterator[Sequence[Column]]:
        """Columns among which the name may be; tables of heads are opened only where one is named."""
        yield self._own
        if "." not in path:
            return
        yield self._labels
        heads = [head for head in self._heads if path.casefold().startswith(f"{head.casefold()}.")]
        yield [column for head in heads for column in self._of_head(head)]
        for head in heads:
            facts = self._store.predictions(head).facts()
            if facts.collection != self._collection.name:
                raise ConfigError(
                    f"{path!r} in the filter is of head {head!r}, which answers for collection {facts.collection!r}; "
                    f"tiles of collection {self._collection.name!r} are asked for; fit a head on these, or search "
                    f"the other with --collection {facts.collection}"
                )

    def _unknown(self, path: str) -> ConfigError:
        every = list(self)
        paths = {name: column for column in every for name in _names(column)}
        last = {column.name: column for column in every}
        folded = {name.casefold(): column for name, column in (last | paths).items()}
        near = difflib.get_close_matches(path.casefold(), folded, n=1, cutoff=0.5)
        if not near and "." in path:
            near = difflib.get_close_matches(path.rpartition(".")[2].casefold(), folded, n=1, cutoff=0.5)
        guess = self._without_quotes(path, every) or (folded[near[0]] if near else None)
        hint = f"; did you mean {guess.text}" if guess else ""
        for head in self._store.heads.names():
            if path.casefold().startswith(f"{head.casefold()}.") and head not in self._heads:
                hint = f"; head {head!r} has predicted nothing yet, `embedstore predict --head {head}` does"
        return ConfigError(
            f"no column {path!r} for the filter of collection {self._collection.name!r}{hint}. Columns are, "
            f"{self._listed(every)}. Text stands in single quotes, such as name = 'a'"
        )

    def _without_quotes(self, path: str, every: Sequence[Column]) -> Column | None:
        """A column of a head such as `tumour-linear`, of whose name SQL saw `tumour` alone."""
        first = path.partition(".")[0].casefold()
        for column in reversed(every):  # probabilities come last
            if _quoted(column.prefix) != column.prefix and first in re.split(r"\W+", column.prefix.casefold()):
                return column
        return None

    def _listed(self, every: Sequence[Column]) -> str:
        by_origin: dict[str, list[str]] = {}
        for column in every:
            by_origin.setdefault(column.origin, []).append(column.text)
        said = {"tile": "of the tile", "slide": "of its slide", "label": "of labels"}
        listed = [f"{said.get(origin, f'of {origin}')}: {', '.join(texts)}" for origin, texts in by_origin.items()]
        nothing = [what for what, there in (("labels", self._labels), ("predictions", self._heads)) if not there]
        if nothing:
            listed.append(f"no {' and no '.join(nothing)}")
        return "; ".join(listed)


def _names(column: Column) -> tuple[str, ...]:
    """The names by which a filter may call a column."""
    if column.source in ("tile", "slide"):
        return tuple(dict.fromkeys((column.path, f"{column.source}.{column.name}")))
    return (column.path,)
