"""docs/scale.md: what larger collections cost, from the slopes of what was measured.

Only the parts of the page between `<!-- NAME -->` and `<!-- /NAME -->` are written; the last row of each size counts.
"""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from measure import RESULTS
from scipy.optimize import nnls

from embedstore.search_config import MAX_PARTITIONS, IndexConfig
from embedstore.store import IndexSearchConfig
from embedstore.store.nearest import SPARE

PAGE = Path(__file__).resolve().parent.parent / "docs" / "scale.md"
DIM, K = 768, 10
SIZES = (1_000_000, 10_000_000, 100_000_000, 1_000_000_000)
#: Bytes a second of a disk, milliseconds to the first byte from an object store, requests at once, its bytes a second.
NVME_BYTES_S, FIRST_BYTE_MS, AT_ONCE, STORE_BYTES_S = 2e9, 30.0, 64, 1e9
#: Of each row while an index is built: its id and its partition.
PARTITION_NUMBER_BYTES = 12
#: US dollars: a GB a month in an object store, and a thousand requests.
GB_MONTH, THOUSAND_GETS = 0.023, 0.0004


@dataclass(frozen=True, kw_only=True)
class Slopes:
    """What was fitted; every coefficient is 0 or more.

    Attributes:
        row_bytes: Vectors and the other columns, a row.
        code_bytes, partition_bytes: Of the index, a row and a partition.
        base_mb: Of a process that answers, without the index.
        build_us, assign_ns, train_ns: Of a build: a row; a row times partitions, which is a matrix product; and the
            square of partitions, as k-means looks at a number of rows a partition.
        peak_mb: Most memory that a build took.
        ask_ms, scan_ns, centre_ns, refine_us: Of a query: always; a row in the partitions looked into; a partition;
            a candidate whose stored vector is compared.
        cold_ms: What a query takes longer where its vectors are read from the disk.
        reads: Requests of a query whose index is in memory.
        exact_ms: A million rows compared one by one.
    """

    row_bytes: float
    code_bytes: float
    partition_bytes: float
    base_mb: float
    build_us: float
    assign_ns: float
    train_ns: float
    peak_mb: float
    ask_ms: float
    scan_ns: float
    centre_ns: float
    refine_us: float
    cold_ms: float
    reads: float
    exact_ms: float

    def query_ms(self, rows: float, partitions: int, probes: int, refine: int) -> float:
        scanned = probes * rows / partitions
        return (
            self.ask_ms
            + (self.scan_ns * scanned + self.centre_ns * partitions) / 1e6
            + self.refine_us * refine * (K + SPARE) / 1e3
        )

    def index_bytes(self, rows: float, partitions: int) -> float:
        return self.code_bytes * rows + self.partition_bytes * partitions

    def build_bytes(self, rows: float) -> float:
        return self.peak_mb * 1e6 + (self.code_bytes + PARTITION_NUMBER_BYTES) * rows

    def build_s(self, rows: float, partitions: int) -> float:
        return self.build_us * rows / 1e6 + (self.assign_ns * rows + self.train_ns * partitions) * partitions / 1e9


Row = dict[str, str]


def scale() -> None:
    """Write the tables of the page anew."""
    speed = [row for row in _read("search_speed") if row["side"] == "embedstore" and row["kept"] == "1.0"]
    text = PAGE.read_text()
    effort, builds = _of_last(_read("search_effort")), _of_last(_read("search_build"))
    made = blocks(_last(speed), _last(_read("search_reads")), effort, builds)
    for name, block in made.items():
        text = filled(text, name, block)
    PAGE.write_text(text)
    print(f"wrote {', '.join(made)} in {PAGE}")


def blocks(speed: Sequence[Row], reads: Sequence[Row], effort: Sequence[Row], builds: Sequence[Row]) -> dict[str, str]:
    """The tables by name."""
    slopes = fit(speed, reads, effort, builds)
    return {
        "measured": table(_measured(speed, reads)),
        "slopes": table(_slopes(slopes)),
        "sizes": table(_sizes(slopes)),
        "latency": table(_latency(slopes)),
    }


def fit(speed: Sequence[Row], reads: Sequence[Row], effort: Sequence[Row], builds: Sequence[Row]) -> Slopes:
    """Least squares without negative coefficients, each equation divided by what was measured: errors are shares."""
    rows = _column(speed, "rows")
    index, disk = _column(speed, "index_mb") * 1e6, _column(speed, "disk_mb") * 1e6
    built, partitions, build_s = (_column(builds, name) for name in ("rows", "partitions", "build_s"))
    code, partition = _nnls(np.stack([built, partitions], 1), _column(builds, "index_mb") * 1e6)
    assign, centre = (float(np.min(_column(builds, name))) for name in ("assign_ns", "centre_ns"))
    products_s = np.minimum(assign * built * partitions / 1e9, 0.9 * build_s)
    build, train = _nnls(np.stack([built / 1e6, partitions**2 / 1e9], 1), build_s - products_s, build_s)
    by_index = [row for row in effort if row["probes"] and row["kept"] == "1.0"]
    n, p, probes, refine = (_column(by_index, name) for name in ("rows", "partitions", "probes", "refine"))
    terms = np.stack([np.ones_like(n), probes * n / p / 1e6, refine * (K + SPARE) / 1e3], 1)
    took = _column(by_index, "p50_ms")
    ask, scan, candidate = _nnls(terms, took - centre * p / 1e6, took)
    exact = [row for row in effort if not row["probes"] and row["kept"] == "1.0"]
    return Slopes(
        row_bytes=float(np.sum(disk - index) / np.sum(rows)),
        code_bytes=code,
        partition_bytes=partition,
        base_mb=float(np.median(_column(speed, "resident_mb") - index / 1e6)),
        build_us=build,
        assign_ns=assign,
        train_ns=train,
        peak_mb=float(np.max(_column(speed, "build_peak_mb"))),
        ask_ms=ask,
        scan_ns=scan,
        centre_ns=centre,
        refine_us=candidate,
        cold_ms=float(np.max(_column(reads, "cold_index_p50_ms") - _column(reads, "index_p50_ms"))),
        reads=float(np.median(_column(reads, "reads_a_query"))),
        exact_ms=float(np.sum(_column(exact, "p50_ms")) / np.sum(_column(exact, "rows")) * 1e6),
    )


# -- tables ---------------------------------------------------------------------------------


def _measured(speed: Sequence[Row], reads: Sequence[Row]) -> Iterator[list[str]]:
    yield ["rows", "partitions", "build", "peak of the build", "index", "with vectors", "memory to answer",
           "recall@10", "p50, search", "p50, index alone", "p50, cold disk", "reads a query"]  # fmt: skip
    cold = {row["rows"]: row for row in reads}
    for row in speed:
        read = cold[row["rows"]]
        yield [
            f"{int(row['rows']):,}", row["partitions"], f"{row['build_s']} s", f"{row['build_peak_mb']} MB",
            f"{row['index_mb']} MB", f"{row['disk_mb']} MB", f"{row['resident_mb']} MB", row["recall_at_10"],
            f"{row['p50_ms']} ms", f"{read['index_p50_ms']} ms", f"{read['cold_index_p50_ms']} ms",
            read["reads_a_query"],
        ]  # fmt: skip


def _slopes(s: Slopes) -> Iterator[list[str]]:
    yield ["what", "slope"]
    yield ["`r` bytes of vectors and columns a row", f"{s.row_bytes:.0f}"]
    yield ["`c` bytes of the index a row", f"{s.code_bytes:.0f}"]
    yield ["`d` bytes of the index a partition", f"{s.partition_bytes:.0f}"]
    yield ["`m` MB of a process that answers, without the index", f"{s.base_mb:.0f}"]
    yield ["`b` µs of the build a row", f"{s.build_us:.1f}"]
    yield ["`a` ns of the build a row and partition: a matrix product, measured by itself", f"{s.assign_ns:.1f}"]
    yield ["`u` ns of the build a partition squared: k-means", f"{s.train_ns:,.0f}"]
    yield ["`h` MB: the most that a build took", f"{s.peak_mb:.0f}"]
    yield ["`q` ms of every query", f"{s.ask_ms:.2f}"]
    yield ["`s` ns of a row in the partitions that are looked into", f"{s.scan_ns:.1f}"]
    yield ["`t` ns of a partition, to find the nearest: measured by itself", f"{s.centre_ns:.0f}"]
    yield ["`v` µs of a candidate's stored vector", f"{s.refine_us:.1f}"]
    yield ["`w` ms more from a cold disk", f"{s.cold_ms:.1f}"]
    yield ["`f` reads a query", f"{s.reads:.0f}"]
    yield ["`e` ms to compare a million rows one by one", f"{s.exact_ms:.0f}"]


def chosen(rows: int) -> list[int]:
    """Partitions: what `embedstore index` takes by itself, and more where it stops before the square root."""
    own = IndexConfig().partitions_for(rows)
    return [own] if own < MAX_PARTITIONS else [own, 4 * own]


def _sizes(s: Slopes) -> Iterator[list[str]]:
    yield ["tiles", "slides", "partitions", "vectors and columns", "index", "memory to answer", "object store a month",
           "build on 2 cores", "build on 32 cores", "memory to allow it"]  # fmt: skip
    for rows in SIZES:
        for partitions in chosen(rows):
            vectors, index = s.row_bytes * rows, s.index_bytes(rows, partitions)
            seconds = s.build_s(rows, partitions)
            yield [
                _count(rows), _count(rows // 5000), f"{partitions:,}", _bytes(vectors), _bytes(index),
                _bytes(s.base_mb * 1e6 + index), f"{(vectors + index) / 1e9 * GB_MONTH:,.2f} $", _time(seconds),
                _time(seconds * 2 / (32 * 0.7)), _bytes(s.build_bytes(rows)),
            ]  # fmt: skip


def _latency(s: Slopes) -> Iterator[list[str]]:
    defaults = IndexSearchConfig()
    yield ["tiles", "partitions", "index and vectors in memory", "index in memory, vectors on NVMe", "all on NVMe",
           "index in memory, vectors in an object store", "all in an object store", "1,000 queries there",
           "no index, in memory"]  # fmt: skip
    for rows in SIZES:
        for partitions in chosen(rows):
            warm = s.query_ms(rows, partitions, defaults.nprobes, defaults.refine_factor)
            looked = defaults.nprobes * s.code_bytes * rows / partitions
            disk = warm + s.cold_ms
            rounds = np.ceil(s.reads / AT_ONCE) * FIRST_BYTE_MS
            fetch = FIRST_BYTE_MS + looked / STORE_BYTES_S * 1e3
            gets = s.reads + defaults.nprobes
            yield [
                _count(rows), f"{partitions:,}", f"{warm:.0f} ms", f"{disk:.0f} ms",
                f"{disk + looked / NVME_BYTES_S * 1e3:.0f} ms", f"{warm + rounds:.0f} ms",
                f"{warm + rounds + fetch:.0f} ms", f"{gets * THOUSAND_GETS:.2f} $", _time(s.exact_ms * rows / 1e9),
            ]  # fmt: skip


def table(lines: Iterator[list[str]]) -> str:
    """GitHub's Markdown; the first line is the head."""
    head, *body = lines
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, ["---"] * len(head), *body))


def filled(text: str, name: str, block: str) -> str:
    """The page with another block between its marks."""
    opening, closing = f"<!-- {name} -->\n", f"<!-- /{name} -->"
    before, _, rest = text.partition(opening)
    _, mark, after = rest.partition(closing)
    if not mark:
        raise SystemExit(f"{PAGE} has no {opening.strip()} … {closing.strip()}")
    return before + opening + block + "\n" + mark + after


def _count(n: int) -> str:
    return f"{n // 10**9} billion" if n >= 10**9 else f"{n // 10**6} million" if n >= 10**6 else f"{n:,}"


def _bytes(n: float) -> str:
    return f"{n / 1e12:.2f} TB" if n >= 1e12 else f"{n / 1e9:.1f} GB" if n >= 1e9 else f"{n / 1e6:.0f} MB"


def _time(s: float) -> str:
    return (
        f"{s / 3600:.1f} h"
        if s >= 5400
        else f"{s / 60:.0f} min"
        if s >= 120
        else f"{s:.1f} s"
        if s < 10
        else f"{s:.0f} s"
    )


# -- rows -----------------------------------------------------------------------------------


def _read(name: str) -> list[Row]:
    path = RESULTS / f"{name}.csv"
    if not path.exists():
        raise SystemExit(f"no rows at {path}; run `benchmarks/search.py speed` and `effort` at two sizes or more first")
    with path.open(newline="") as file:
        return [row for row in csv.DictReader(file) if int(row["dim"]) == DIM]


def _last(rows: Sequence[Row]) -> list[Row]:
    """The last row of each size, smallest first."""
    return sorted({row["rows"]: row for row in rows}.values(), key=lambda row: int(row["rows"]))


def _of_last(rows: Sequence[Row]) -> list[Row]:
    """Of each size, number of partitions and effort the last row."""
    names = ("rows", "partitions", "kept", "probes", "refine")
    return list({tuple(row.get(name) for name in names): row for row in rows}.values())


def _column(rows: Sequence[Row], name: str) -> np.ndarray:
    return np.array([float(row[name]) for row in rows])


def _nnls(terms: np.ndarray, measured: np.ndarray, weight: np.ndarray | None = None) -> tuple[float, ...]:
    """Coefficients; errors count as shares of `weight`, of what was measured when None."""
    weight = measured if weight is None else weight
    found, _ = nnls(terms / weight[:, None], measured / weight)
    return tuple(float(each) for each in found)
