"""The rows of a warm collection: where each tile lies and in which fragment of the table its row is."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from embedstore.store import Collection
from embedstore.store.nearest import TILE_COLUMNS
from embedstore.store.schema import batch_rows
from embedstore.store.vectors import matrix

#: {number of a fragment: its files, and the file that says which of its rows were deleted}; files never change.
Fragments = Mapping[int, tuple[str, str]]
GONE = np.int64(-1)
#: Up to so many values, a list of Python is made into a column faster than Arrow takes them: 4 µs instead of 17 for 10.
FEW = 50
_TYPES = {"edge_l0": pa.int32(), "tissue": pa.float32(), "x": pa.int32(), "y": pa.int32(), "tile_id": pa.int64()}


@dataclass(frozen=True, kw_only=True, eq=False)
class HotRows:
    """n rows, in the order in which they came; one that was removed keeps its place, and holds zeros.

    Attributes:
        tile_id: (n,) int64.
        slide: (n,) int32 index into `slides`.
        slides: Ids of slides; "" for one that was removed.
        x, y, edge_l0: (n,) int32, level-0 pixels.
        tissue: (n,) float32.
        name: (n,) files of ready-made tiles; None if no row has one.
        address: (n,) int64 number of the fragment x 2^32 + position in it; GONE for a row that was removed.
        norm: (n,) float32 length of the vector; 0 for one that has no direction, which is never found.
    """

    tile_id: NDArray[np.int64]
    slide: NDArray[np.int32]
    slides: tuple[str, ...]
    x: NDArray[np.int32]
    y: NDArray[np.int32]
    edge_l0: NDArray[np.int32]
    tissue: NDArray[np.float32]
    name: pa.Array | None
    address: NDArray[np.int64]
    norm: NDArray[np.float32]

    @classmethod
    def none(cls) -> "HotRows":
        empty32, empty64, floats = np.empty(0, np.int32), np.empty(0, np.int64), np.empty(0, np.float32)
        return cls(
            tile_id=empty64, slide=empty32, slides=(), x=empty32, y=empty32, edge_l0=empty32, tissue=floats, name=None,
            address=empty64, norm=floats,
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.tile_id)

    @cached_property
    def living(self) -> int:
        """Rows that were not removed."""
        return int((self.address != GONE).sum())

    @cached_property
    def findable(self) -> NDArray[np.bool_]:
        """(n,) whether each was not removed and has a direction."""
        return (self.address != GONE) & (self.norm > 0)

    @property
    def nbytes(self) -> int:
        arrays = [getattr(self, each.name) for each in fields(self) if each.name != "slides"]
        ordered = 40 * len(self)  # by tile, address and slide
        return ordered + sum(values.nbytes for values in arrays if values is not None)

    # -- which rows -------------------------------------------------------------------------

    def of_tiles(self, tile_ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """The rows of those of some tiles that there are."""
        return _found(self._by_tile, tile_ids)

    def at(self, addresses: NDArray[np.int64]) -> NDArray[np.int64]:
        """The rows that are at those of some addresses that there are."""
        return _found(self._by_address, addresses)

    def mask(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """(n,) whether each is one of some rows."""
        mask = np.zeros(len(self), bool)
        mask[rows] = True
        return mask

    def of_slide(self, slide_id: str) -> NDArray[np.int64]:
        """The rows of a slide."""
        order, starts = self._by_slide
        code = self._code_of.get(slide_id)
        return order[:0] if code is None else order[starts[code] : starts[code + 1]]

    @cached_property
    def _by_tile(self) -> tuple[NDArray[np.int64], NDArray[np.integer]]:
        return _ordered(self.tile_id, self.address != GONE)

    @cached_property
    def _by_address(self) -> tuple[NDArray[np.int64], NDArray[np.integer]]:
        return _ordered(self.address, self.address != GONE)

    @cached_property
    def _by_slide(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        order, codes = _ordered(self.slide, self.address != GONE)
        return order, np.searchsorted(codes, np.arange(len(self.slides) + 1))

    @cached_property
    def _code_of(self) -> dict[str, int]:
        return {slide_id: code for code, slide_id in enumerate(self.slides) if slide_id}

    def prepare(self) -> None:
        """Order the rows now, and not while a first query waits."""
        for name in ("_by_tile", "_by_address", "_by_slide", "_code_of", "_slide_ids", "findable", "living"):
            getattr(self, name)

    # -- as a table -------------------------------------------------------------------------

    @cached_property
    def _slide_ids(self) -> pa.Array:
        return pa.array(self.slides, pa.string())

    def table(self, rows: NDArray[np.int64]) -> pa.Table:
        """Some rows with TILE_COLUMNS, as the collection has them."""
        columns = {
            name: pa.array(getattr(self, name)[rows], kind, from_pandas=name == "tissue")  # NaN where not known
            for name, kind in _TYPES.items()
        }
        if len(rows) <= FEW:
            columns["slide_id"] = pa.array([self.slides[code] for code in self.slide[rows].tolist()], pa.string())
        else:
            columns["slide_id"] = self._slide_ids.take(pa.array(self.slide[rows]))
        columns["name"] = pa.nulls(len(rows), pa.string()) if self.name is None else self.name.take(pa.array(rows))
        return pa.Table.from_arrays([columns[name] for name in TILE_COLUMNS], names=list(TILE_COLUMNS))

    # -- changed ----------------------------------------------------------------------------

    def without(self, rows: NDArray[np.int64]) -> "HotRows":
        """The rows with some removed: nothing of them stays but their places."""
        if not len(rows):
            return self
        changed = {each.name: getattr(self, each.name).copy() for each in fields(self) if each.name not in _NOT_ARRAYS}
        for values in changed.values():
            values[rows] = 0
        changed["address"][rows] = GONE
        name = self.name
        if name is not None:
            removed = np.zeros(len(self), bool)
            removed[rows] = True
            name = pc.if_else(pa.array(removed), pa.scalar(None, pa.string()), name)
        return replace(self, **changed, name=name)

    def with_used_slides(self) -> "HotRows":
        """The rows, without the ids of slides that no row is of any more."""
        used = np.zeros(len(self.slides), bool)
        used[self.slide[self.address != GONE]] = True
        return replace(self, slides=tuple(np.where(used, self.slides, "").tolist()) if len(used) else ())

    def moved(self, rows: NDArray[np.int64], addresses: NDArray[np.int64]) -> "HotRows":
        """The rows with some at other addresses, as compaction moves them."""
        address = self.address.copy()
        address[rows] = addresses
        return replace(self, address=address)

    def some(self, rows: NDArray[np.int64]) -> "HotRows":
        """Only some of the rows."""
        chosen = {each.name: getattr(self, each.name)[rows] for each in fields(self) if each.name not in _NOT_ARRAYS}
        return replace(self, **chosen, name=None if self.name is None else self.name.take(pa.array(rows)))

    @classmethod
    def joined(cls, parts: Sequence["HotRows"]) -> "HotRows":
        """The rows of all; the slides of each are those of the one before it, and more."""
        arrays = {
            each.name: np.concatenate([getattr(part, each.name) for part in parts])
            for each in fields(cls)
            if each.name not in _NOT_ARRAYS
        }
        name = None
        if any(part.name is not None for part in parts):
            names = [pa.nulls(len(part), pa.string()) if part.name is None else part.name for part in parts]
            name = pa.concat_arrays(names)
        return cls(**arrays, slides=parts[-1].slides, name=name)

    # -- in a file --------------------------------------------------------------------------

    def save(self, path: Path) -> None:
        arrays = {each.name: getattr(self, each.name) for each in fields(self) if each.name not in _NOT_ARRAYS}
        table = pa.table({**arrays, "name": pa.nulls(len(self), pa.string()) if self.name is None else self.name})
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table)

    @classmethod
    def load(cls, path: Path, *, slides: tuple[str, ...]) -> "HotRows":
        with pa.OSFile(str(path), "rb") as file:
            table = pa.ipc.open_file(file).read_all()
        name = table.column("name").combine_chunks()
        arrays = {each.name: table.column(each.name).to_numpy() for each in fields(cls) if each.name not in _NOT_ARRAYS}
        return cls(**arrays, slides=slides, name=None if name.null_count == len(name) else name)


_NOT_ARRAYS = ("slides", "name")


def _ordered(keys: NDArray[np.integer], living: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.integer]]:
    """The rows of the living in the order of their keys, and their keys."""
    rows = np.flatnonzero(living)
    rows = rows[np.argsort(keys[rows], kind="stable")]
    return rows, keys[rows]


def _found(ordered: tuple[NDArray[np.int64], NDArray[np.integer]], wanted: NDArray[np.int64]) -> NDArray[np.int64]:
    rows, keys = ordered
    if not len(keys):
        return rows
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return rows[at[keys[at] == wanted]]


# -- read from a collection -----------------------------------------------------------------


def fragments_of(collection: Collection) -> Fragments:
    """The fragments of a pinned collection."""
    found = {}
    for fragment in collection.dataset().get_fragments():
        about = fragment.metadata
        files = " ".join(file.path for file in about.files)
        found[int(about.id)] = files, repr(about.deletion_file)
    return found


def fragments(dataset: Any, numbers: list[int]) -> list[Any]:
    """Fragments of a Lance dataset by their numbers."""
    return [dataset.get_fragment(number) for number in numbers]


def living_in(collection: Collection, numbers: list[int]) -> NDArray[np.int64]:
    """The addresses of the rows of some fragments that are not deleted."""
    dataset = collection.dataset()
    found = dataset.scanner(columns=["_rowaddr"], fragments=fragments(dataset, numbers)).to_table()
    return found.column(0).to_numpy().astype(np.int64)


def read_rows(
    collection: Collection, numbers: list[int], slides: tuple[str, ...]
) -> Iterator[tuple[HotRows, NDArray[np.float16]]]:
    """The rows of some fragments, and their vectors, a batch at a time.

    Args:
        slides: Known before; the slides of each batch are these and more.
    """
    dataset = collection.dataset()
    codes = {slide: code for code, slide in enumerate(slides) if slide}
    names = list(slides)
    columns: list[Any] = [*TILE_COLUMNS, "vector", "_rowaddr"]
    for batch in dataset.scanner(
        columns=columns, fragments=fragments(dataset, numbers), batch_size=batch_rows(collection.dim)
    ).to_batches():
        encoded = batch.column("slide_id").dictionary_encode()
        for slide in encoded.dictionary.to_pylist():
            if slide not in codes:
                codes[slide] = len(names)
                names.append(slide)
        of_dictionary = np.array([codes[slide] for slide in encoded.dictionary.to_pylist()], np.int32)
        vectors = matrix(batch.column("vector"), collection.dim)
        wide = vectors.astype(np.float32)
        norm = np.sqrt(np.einsum("ij,ij->i", wide, wide))
        name = batch.column("name")
        tissue = batch.column("tissue").to_numpy(zero_copy_only=False)
        yield (
            HotRows(
                tile_id=batch.column("tile_id").to_numpy(),
                slide=of_dictionary[encoded.indices.to_numpy()],
                slides=tuple(names),
                x=batch.column("x").to_numpy(),
                y=batch.column("y").to_numpy(),
                edge_l0=batch.column("edge_l0").to_numpy(),
                tissue=tissue.astype(np.float32),
                name=None if name.null_count == len(name) else name,
                address=batch.column("_rowaddr").to_numpy().astype(np.int64),
                norm=np.where(np.isfinite(norm), norm, np.float32(0)),
            ),
            vectors,
        )
