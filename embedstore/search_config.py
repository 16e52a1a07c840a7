"""Settings of search and of the index behind it, checked where they are made.

They are not in the packages `search` and `store`, so that the command line can show them without importing Lance.
"""

from dataclasses import dataclass
from typing import Literal

from embedstore.config import Settings, require

MIN_PARTITIONS, MAX_PARTITIONS = 32, 4096
ONE_BIT_DIM = 128  # from this many dimensions on, one bit per dimension is enough
#: How far a query is moved away from its negatives.
AWAY_WEIGHT = 0.5


@dataclass(frozen=True, kw_only=True)
class IndexConfig(Settings):
    """When a collection has an index, and which.

    Attributes:
        kind: `auto` builds an index above `flat_rows` tiles; `ivf_rq` always; `flat` never, every vector is compared.
        flat_rows: Number of tiles up to which `auto` builds no index.
        partitions: Partitions of the index; the square root of the number of tiles when None.
        bits: Bits per dimension; 1, or 2 for vectors of fewer than 128 dimensions when None.
        sample_rows: Tiles per partition in the sample that the partitions are trained on.
    """

    kind: Literal["auto", "ivf_rq", "flat"] = "auto"
    flat_rows: int = 50_000  # 100,000 x 768 are compared in 61 ms
    partitions: int | None = None
    # At 32 and 64 dimensions, 1 bit finds .85 and .95 of the nearest 10 of 50,000, 2 bits find .97 and .98, and more
    # bits find no more. An IVF_FLAT index has no bits.
    bits: int | None = None
    sample_rows: int = 64

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.flat_rows >= 0, f"flat_rows is {self.flat_rows}; expected 0 or more rows")
        require(
            self.partitions is None or 1 <= self.partitions <= 65_536,
            f"partitions is {self.partitions}; expected 1 to 65536",
        )
        require(self.bits is None or 1 <= self.bits <= 9, f"bits is {self.bits}; expected 1 to 9 bits a dimension")
        require(self.sample_rows >= 16, f"sample_rows is {self.sample_rows}; expected 16 or more rows a partition")

    def wants_index(self, rows: int) -> bool:
        """Whether a collection of `rows` rows has an index."""
        return rows >= 1 and (self.kind == "ivf_rq" or (self.kind == "auto" and rows > self.flat_rows))

    def partitions_for(self, rows: int) -> int:
        """Number of partitions of an index of `rows` rows; never more than `sample_rows` rows each can fill."""
        partitions = self.partitions or min(max(round(rows**0.5), MIN_PARTITIONS), MAX_PARTITIONS)
        return max(min(partitions, rows // self.sample_rows), 1)

    def bits_for(self, dim: int) -> int:
        """Bits per dimension for vectors of `dim` dimensions."""
        return self.bits or (1 if dim >= ONE_BIT_DIM else 2)


@dataclass(frozen=True, kw_only=True)
class IndexSearchConfig(Settings):
    """How an index is searched. Without an index every vector is compared, and these settings have no effect.

    Attributes:
        nprobes: Partitions of the index that are searched.
        refine_factor: Candidates per neighbour that are re-ranked by their stored vectors, as the index keeps one bit
            per dimension.
        exact: Compare every vector, even if there is an index.
    """

    # On 100,000 tiles in 316 partitions recall@10 is .981 with 10, .992 with 20, .997 with 40, and a query takes 4.7,
    # 5.0 and 5.3 ms.
    nprobes: int = 40
    refine_factor: int = 4
    exact: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.nprobes >= 1, f"nprobes is {self.nprobes}; expected 1 or more partitions")
        require(
            self.refine_factor >= 1, f"refine_factor is {self.refine_factor}; expected 1 or more candidates a neighbour"
        )


@dataclass(frozen=True, kw_only=True)
class SearchConfig(Settings):
    """Which neighbours are returned, and with which columns.

    Attributes:
        k: Number of neighbours.
        where: SQL that a neighbour must satisfy, over tiles, slides, labels and predictions: see `select_tiles`.
        exclude_same: Leave out tiles of the query's own `slide`, or of all slides of its `patient`.
        per_slide: Largest number of neighbours from one slide.
        diverse: How much neighbours should differ from each other, 0 to 1: 0 returns the nearest, 0.3 to 0.7 are
            sensible, 1 returns the most different.
        columns: Columns of slides to show beside each neighbour.
        index_search: How the index is searched.
    """

    k: int = 10
    where: str | None = None
    exclude_same: Literal["slide", "patient"] | None = None
    per_slide: int | None = None
    diverse: float = 0.0
    columns: tuple[str, ...] = ()
    index_search: IndexSearchConfig = IndexSearchConfig()

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "columns", tuple(dict.fromkeys(self.columns)))
        require(self.k >= 1, f"k is {self.k}; expected 1 or more neighbours")
        require(self.per_slide is None or self.per_slide >= 1, f"per_slide is {self.per_slide}; expected 1 or more")
        require(0 <= self.diverse <= 1, f"diverse is {self.diverse}; expected 0 to 1")
