"""`suggest`: the tiles that would teach most, of a collection's tiles that have no label of a task yet."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embedstore.config import JoinConfig
from embedstore.errors import ConfigError, LabelError
from embedstore.labels import join_labels, labelled_tiles
from embedstore.search import SearchConfig, prototype_query, search
from embedstore.search.filters import filter_tiles
from embedstore.search.neighbours import require_tiles
from embedstore.search.tile_sample import DrawnRows, directions, draw_rows
from embedstore.store import Collection, Patients, Store, TileLocations, read_tile_locations
from embedstore.store.nearest import TILE_COLUMNS
from embedstore.store.patients import group_by_patient
from embedstore.store.tile_locations import locations_of
from embedstore.store.vectors import matrix
from heads.active.found import PLACE_COLUMNS, FoundTiles, decisions, require_tile_head
from heads.active.strategies import Pool, choose_first, choose_tiles, uncertainty_of
from heads.config import UNCERTAIN, Strategy, SuggestConfig

if TYPE_CHECKING:
    from heads.head import Head

#: Labelled tiles that `diverse` and `typical` know of: a sample of more tells the same.
MOST_MARKED = 1_000
#: `nearest-to-marks` spreads over the slides of so many times n neighbours.
NEAREST_AMONG = 10
#: How much more than its even share one slide or patient may have, unless `per_slide` says.
SHARE = 2
_WHY = {
    "random": "drawn at random",
    "typical": "in the middle of a group without a label",
    "diverse": "unlike all that is labelled or proposed",
    "nearest-to-marks": "similar to what is labelled {label}",
    "uncertainty": "the head is not certain",
    "uncertain-diverse": "the head is not certain, and it differs from the others",
}


def suggest_tiles(
    store: Store,
    collection: Collection,
    config: SuggestConfig,
    *,
    task: str | None = None,
    head: "Head | None" = None,
    labels_of: Store | None = None,
) -> FoundTiles:
    """Propose tiles to be labelled next; tiles that labels of places are about already are left out.

    A pool of tiles is drawn, the same number from each slide, and a strategy of `heads.active.strategies` chooses among
    it. `nearest-to-marks` searches the whole collection instead. What is read and held is bounded by the pool.

    Args:
        task: Whose labels count; the head's when one is given. None has no labels.
        head: Whose uncertainty counts.
        labels_of: The store as somebody sees it whose labels alone count; the store itself when None.
    Returns:
        PLACE_COLUMNS, `tissue`, of a head `predicted` (the class), its `probability` and `uncertainty` (0 to 1, the
        entropy), null without a head; and `reason`, for people.
    Raises:
        ConfigError: the strategy needs a head or a task, or `where` is not valid.
        HeadMismatchError: the head classifies slides, or its vectors are of another extractor.
        LabelError: `nearest-to-marks` without a tile that is labelled so.
        QueryError: the collection is empty.
    """
    return _Proposal(store, collection, config, task=task, head=head, labels_of=labels_of or store).tiles()


class _Proposal:
    """One call: the collection at one version, what is labelled in it, and the strategy."""

    def __init__(
        self,
        store: Store,
        collection: Collection,
        config: SuggestConfig,
        *,
        task: str | None,
        head: "Head | None",
        labels_of: Store,
    ):
        collection = collection.pinned()
        require_tiles(collection)
        if head is not None:
            from heads.predict import require_extractor

            require_tile_head(head)
            require_extractor(head, collection)
            task = head.task
        strategy = config.strategy or ("typical" if head is None else "uncertain-diverse")
        if head is None and strategy in UNCERTAIN:
            raise ConfigError(
                f"the strategy {strategy} asks what a head is uncertain of; name a head, or take another strategy"
            )
        if task is None and strategy == "nearest-to-marks":
            raise ConfigError("the strategy nearest-to-marks asks what is labelled; name the task")
        self._store, self._labels_of, self._collection, self._config = store, labels_of, collection, config
        self._task, self._head = task, head
        self._strategy: Strategy = strategy
        self._locations, self._labelled = self._find_labelled()

    def tiles(self) -> FoundTiles:
        if self._strategy == "nearest-to-marks":
            return self._nearest()
        drawn = self._draw()
        tiles = drawn.read([*TILE_COLUMNS, "vector"])
        stored = matrix(tiles["vector"].combine_chunks(), self._collection.dim)
        vectors, valid = directions(stored)
        tiles, stored = tiles.drop_columns(["vector"]).filter(pa.array(valid)), stored[valid]
        patient, names = self._patients(tiles, drawn.rows[valid])
        slide = tiles["slide_id"].combine_chunks().dictionary_encode().indices.to_numpy().astype(np.int32)
        probabilities = None if self._head is None else self._head.probabilities(stored)
        pool = Pool(
            vectors=vectors,
            slide=slide,
            patient=patient,
            marked=self._marked(),
            uncertainty=None if probabilities is None else self._uncertainty(probabilities),
        )
        n, given = self._config.n, self._config.per_slide
        chosen = choose_tiles(
            pool, n, self._strategy, rng=np.random.default_rng(self._config.seed),
            per_slide=given or _share(n, pool.slide), per_patient=n if given else _share(n, pool.patient),
        )  # fmt: skip
        seen = f"{drawn.candidates:,} tiles of {drawn.slides:,} slides "
        if self._task is None and (tasks := self._labels_of.labels.tasks()):
            seen += f"were asked for, labelled or not; --task leaves out what has a label ({', '.join(tasks)})"
        else:
            seen += "have no label yet"
        seen += f"; {len(pool):,} were looked at"
        notes = [seen] if drawn.candidates else []
        notes += self._few(len(chosen), len(pool))
        names_of_chosen = [names[code] if code < len(names) else None for code in patient[chosen]]
        table = tiles.take(chosen).append_column("patient", pa.array(names_of_chosen, pa.string()))
        return self._found(table, None if probabilities is None else probabilities[chosen], notes)

    # -- what there is ----------------------------------------------------------------------

    def _find_labelled(self) -> tuple[TileLocations | None, NDArray[np.intp]]:
        """Where the tiles of slides with labels lie, and which of them labels of places are about."""
        none = None, np.empty(0, np.intp)
        if self._task is None:
            return none
        labels = self._labels_of.labels.table(task=self._task)
        slides = set(labels["slide_id"].unique().to_pylist()) - {None}
        if not slides:
            return none
        locations = read_tile_locations(self._collection, slides=slides)
        found = labelled_tiles(
            locations, labels, self._labels_of.ledger.patients(), task=self._task, config=JoinConfig()
        )  # fmt: skip
        return locations, np.unique(found.tile)

    def _labelled_ids(self) -> NDArray[np.int64]:
        return np.empty(0, np.int64) if self._locations is None else self._locations.tile_id[self._labelled]

    def _draw(self) -> DrawnRows:
        config, tile_ids = self._config, None
        if config.where is not None:
            passing = filter_tiles(self._store, self._collection, config.where, columns=["tile_id"])
            tile_ids = passing["tile_id"].to_numpy()
        return draw_rows(
            self._collection, config.pool, tile_ids=tile_ids, exclude=self._labelled_ids(), seed=config.seed
        )  # fmt: skip

    def _marked(self) -> NDArray[np.float32]:
        """Unit vectors of labelled tiles, for the strategies that keep away from them."""
        if self._locations is None or self._strategy not in ("diverse", "typical"):
            return np.empty((0, self._collection.dim), np.float32)
        rows = self._labelled
        if len(rows) > MOST_MARKED:
            rows = np.sort(np.random.default_rng(self._config.seed).choice(rows, MOST_MARKED, replace=False))
        drawn = DrawnRows(collection=self._collection, rows=self._locations.row[rows], candidates=0, slides=0)
        return directions(matrix(drawn.read(["vector"])["vector"].combine_chunks(), self._collection.dim))[0]

    def _patients(self, tiles: pa.Table, rows: NDArray[np.int64]) -> tuple[NDArray[np.int32], tuple[str, ...]]:
        """(m,) code of the patient of each tile, or of what counts as one; and the names of those known."""
        places = locations_of(tiles, row=rows, version=0, collection=self._collection.name)
        code, names = Patients(self._store).of_tiles(places, np.arange(len(places)))
        groups = group_by_patient(
            code, names, slide=places.slide, slides=places.slides, ready_made=places.is_ready_made,
            things="tiles", consequence="",
        )  # fmt: skip
        return groups.code, names

    def _uncertainty(self, probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
        assert self._head is not None
        return uncertainty_of(probabilities, multi_label=self._head.multi_label)

    # -- near to marks ----------------------------------------------------------------------

    def _nearest(self) -> FoundTiles:
        config, label = self._config, self._config.label or self._rarest()
        query = prototype_query(self._labels_of, self._collection, self._task or "", label)
        query = replace(query, tile_ids=self._labelled_ids())
        fetch = config.n if config.per_slide else NEAREST_AMONG * config.n
        hits = search(
            self._store, self._collection, query, SearchConfig(k=fetch, where=config.where, per_slide=config.per_slide)
        )  # fmt: skip
        slide = hits.table["slide_id"].combine_chunks().dictionary_encode().indices.to_numpy()
        most = config.per_slide or _share(config.n, slide)
        tiles = hits.table.take(choose_first(config.n, slide, most))
        probabilities = None
        if self._head is not None:
            listed = ", ".join(map(str, tiles["tile_id"].to_pylist())) or "NULL"
            rows = self._collection.tiles(where=f"tile_id IN ({listed})", columns=["tile_id", "vector"])
            at = {tile_id: i for i, tile_id in enumerate(rows["tile_id"].to_pylist())}
            order = [at[tile_id] for tile_id in tiles["tile_id"].to_pylist()]
            stored = matrix(rows["vector"].combine_chunks(), self._collection.dim)[order]
            probabilities = self._head.probabilities(stored)
        return self._found(tiles, probabilities, self._few(len(tiles), None), label=label)

    def _rarest(self) -> str:
        """The class of the task with the fewest labelled tiles."""
        labels = self._labels_of.labels.of_task(self._task or "")
        if self._locations is None:
            raise LabelError(f"task {self._task!r} has no label of a place; mark tiles first, or take another strategy")
        targets = join_labels(
            self._locations, labels, self._labels_of.ledger.patients(), task=self._task or "", config=JoinConfig(),
            multi_label=self._head is not None and self._head.multi_label, min_classes=1,
        )  # fmt: skip
        return targets.classes[int(np.argmin(targets.targets.sum(axis=0)))]

    # -- what comes out ---------------------------------------------------------------------

    def _few(self, found: int, pool: int | None) -> list[str]:
        n, per_slide = self._config.n, self._config.per_slide
        if found >= n:
            return []
        if pool is not None and found == pool:
            return [f"{found} of {n} tiles were found: no more that pass are without a label"]
        limit = f"{per_slide} a slide" if per_slide else "twice an even share of a slide or patient"
        return [f"{found} of {n} tiles were found, with at most {limit}; --per-slide sets another limit"]

    def _found(
        self, tiles: pa.Table, probabilities: NDArray[np.float32] | None, notes: Sequence[str], *, label: str = ""
    ) -> FoundTiles:
        n, why = len(tiles), _WHY[self._strategy].format(label=label)
        columns: dict[str, Any] = {name: tiles[name] for name in (*PLACE_COLUMNS[1:], "tissue")}
        predicted, probability, uncertainty = pa.nulls(n, pa.string()), *2 * [pa.nulls(n, pa.float32())]
        if self._head is not None and probabilities is not None:
            predicted, probability = decisions(self._head, probabilities)
            uncertainty = pa.array(self._uncertainty(probabilities))
        columns |= {"predicted": predicted, "probability": probability, "uncertainty": uncertainty}
        of_task = "" if self._task is None else f" for {self._task}"
        return FoundTiles(
            table=pa.table({"rank": pa.array(np.arange(1, n + 1)), **columns, "reason": pa.array([why] * n)}),
            title=f"tiles to label{of_task}, {self._strategy}",
            notes=tuple(notes),
        )


def _share(n: int, codes: NDArray[np.int32]) -> int:
    """SHARE times the even share of n of each code that occurs."""
    return math.ceil(SHARE * n / max(len(np.unique(codes)), 1))
