"""What is stored of the examples that a head was fitted on: ids, parts and targets, without names of patients."""

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embedstore.errors import HeadMismatchError
from embedstore.sorted_ids import positions_in
from embedstore.store import Collection, Store, StoredHead, TileLocations, read_tile_locations
from embedstore.store.patients import patients_of_task
from embedstore.tile_id import tile_ids
from heads.bags import Bags
from heads.examples import Examples
from heads.record import HeadRecord
from heads.splitting.splits import Split


@dataclass(frozen=True, kw_only=True, eq=False)
class StoredExamples:
    """n examples, T tasks, F folds.

    Attributes:
        ids: (n,) int64, as in `Examples`.
        tiles: (n,) number of tiles of each example.
        group: (n,) code of its group.
        parts: (F, n) int8, as in `Split`.
        targets: For each task (n, classes) bool.
        known: For each task (n,) bool.
    """

    ids: NDArray[np.int64]
    tiles: NDArray[np.int64]
    group: NDArray[np.int32]
    parts: NDArray[np.int8]
    targets: tuple[NDArray[np.bool_], ...]
    known: tuple[NDArray[np.bool_], ...]

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def of(cls, examples: Examples) -> "StoredExamples":
        return cls(
            ids=examples.ids,
            tiles=examples.bags.sizes,
            group=examples.group,
            parts=examples.split.parts,
            targets=examples.targets,
            known=examples.known,
        )

    def to_bytes(self) -> bytes:
        """Compressed Arrow."""
        columns: dict[str, Any] = {"id": self.ids, "tiles": self.tiles, "group": self.group}
        columns |= {f"part_{f}": part for f, part in enumerate(self.parts)}
        for t, (targets, known) in enumerate(zip(self.targets, self.known, strict=True)):
            columns[f"known_{t}"] = known
            columns |= {f"is_{t}_{k}": of_class for k, of_class in enumerate(targets.T)}
        batch = pa.record_batch({name: pa.array(np.ascontiguousarray(values)) for name, values in columns.items()})
        out = io.BytesIO()
        with pa.ipc.new_stream(out, batch.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
            writer.write_batch(batch)
        return out.getvalue()

    @classmethod
    def from_bytes(cls, stored: bytes) -> "StoredExamples":
        """Examples from what `to_bytes` gave."""
        table = pa.ipc.open_stream(stored).read_all()

        def numbered(prefix: str) -> list[NDArray[Any]]:
            names = (f"{prefix}_{i}" for i in range(table.num_columns))
            return [table.column(name).to_numpy() for name in names if name in table.column_names]

        known = numbered("known")
        return cls(
            ids=table.column("id").to_numpy(),
            tiles=table.column("tiles").to_numpy(),
            group=table.column("group").to_numpy(),
            parts=np.stack(numbered("part")),
            targets=tuple(np.stack(numbered(f"is_{t}"), axis=1) for t in range(len(known))),
            known=tuple(known),
        )


def restore_examples(store: Store, stored: StoredHead, record: HeadRecord, collection: Collection) -> Examples:
    """The examples that a head was fitted on, from what is stored of them and the current collection.

    Raises:
        HeadMismatchError: tiles of some are no longer in the collection.
    """
    examples = StoredExamples.from_bytes(stored.examples)
    tiles = read_tile_locations(collection)
    if stored.level == "tile":
        at = positions_in(tiles.tile_id, examples.ids, order=np.argsort(tiles.tile_id))
        missing = at < 0
        bags = Bags.single(tiles.row[at[~missing]])
    else:
        rows_by_id = _rows_by_id(store, stored, tiles)
        bag_rows = [rows_by_id.get(key, np.empty(0, np.int64)) for key in examples.ids.tolist()]
        bags = Bags.of_rows(bag_rows)
        missing = bags.sizes != examples.tiles
    if missing.any():
        raise HeadMismatchError(
            f"head {stored.name!r} was fitted on {len(missing):,} {stored.level}s of collection {collection.name!r} at "
            f"version {record.collection_version}, of which {int(missing.sum()):,} are no longer there as they were "
            "(removed, or ingested again in another way); it cannot be fitted again to the same numbers; fit a new one "
            f"with `embedstore fit-head --task {stored.task} --replace`"
        )
    return Examples(
        version=tiles.version,
        ids=examples.ids,
        bags=bags,
        tasks=record.tasks,
        classes=record.task_classes,
        targets=examples.targets,
        known=examples.known,
        group=examples.group,
        group_names=tuple(map(str, range(int(examples.group.max()) + 1))),
        split=Split(parts=examples.parts, names=record.fold_names),
    )


def _rows_by_id(store: Store, stored: StoredHead, tiles: TileLocations) -> dict[int, NDArray[np.int64]]:
    """Rows of the table by the id of their slide or patient."""
    slides_of: dict[str, list[str]] = {}
    for slide, patient in sorted(patients_of_task(store, stored.task).items()):
        name = slide if stored.level == "slide" else patient
        if name is not None:
            slides_of.setdefault(name, []).append(slide)
    code = {slide: i for i, slide in enumerate(tiles.slides)}
    rows = {}
    for slides, key in zip(slides_of.values(), tile_ids(stored.level, list(slides_of)).tolist(), strict=True):
        codes = [code[slide] for slide in slides if slide in code]
        rows[key] = tiles.row[np.isin(tiles.slide, codes)]
    return rows
