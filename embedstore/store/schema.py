"""What the tables of a store hold."""

import re
from collections.abc import Iterable, Mapping

import pyarrow as pa

from embedstore.errors import ConfigError
from embedstore.views import PARAMETERS

FORMAT_VERSION = 1
_PRIMARY_KEY = {b"lance-schema:unenforced-primary-key": b"true"}

#: Rows of one record batch: about 8 MB of fp16 vectors at 768 dimensions, the page size at which Lance scans
#: 300,000 x 768 at 3.5-4.0 GB/s (one big page: 0.5-1.0).
BATCH_BYTES = 8_000_000
#: A slide's rows are written in fragments of so many, so that no slide's vectors are held whole.
BLOCK_ROWS = 20_000

SLIDES = pa.schema(
    [
        pa.field("slide_id", pa.string(), nullable=False, metadata=_PRIMARY_KEY),
        pa.field("path", pa.string()),
        pa.field("kind", pa.string()),
        pa.field("patient", pa.string()),
        pa.field("width_l0", pa.int64()),
        pa.field("height_l0", pa.int64()),
        pa.field("bounds_x", pa.int64()),  # the part that holds an image, level-0 pixels
        pa.field("bounds_y", pa.int64()),
        pa.field("bounds_width", pa.int64()),
        pa.field("bounds_height", pa.int64()),
        pa.field("slide_mpp", pa.float64()),
        pa.field("vendor", pa.string()),
        pa.field("tissue_mm2", pa.float64()),
        pa.field("fingerprint", pa.string()),
        pa.field("updated_at", pa.timestamp("us", tz="UTC")),
    ]
)

#: What became of each slide in each collection; the collection's rows decide, this explains.
OUTCOMES = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False, metadata=_PRIMARY_KEY),
        pa.field("collection", pa.string()),
        pa.field("slide_id", pa.string()),
        pa.field("path", pa.string()),
        pa.field("state", pa.string()),
        pa.field("tiles", pa.int64()),
        pa.field("unreadable", pa.int64()),
        pa.field("reader", pa.string()),
        pa.field("plan_s", pa.float64()),
        pa.field("read_s", pa.float64()),
        pa.field("extract_s", pa.float64()),
        pa.field("write_s", pa.float64()),
        pa.field("error", pa.string()),
        pa.field("reason", pa.string()),
        pa.field("warnings", pa.list_(pa.string())),
        pa.field("run_id", pa.string()),
        pa.field("updated_at", pa.timestamp("us", tz="UTC")),
    ]
)

LABELS = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False, metadata=_PRIMARY_KEY),
        pa.field("task", pa.string()),
        pa.field("kind", pa.string()),  # what the place is: see `labels.Kind`
        pa.field("slide_id", pa.string()),
        pa.field("name", pa.string()),
        pa.field("x", pa.float64()),  # level-0 pixels
        pa.field("y", pa.float64()),
        pa.field("edge_l0", pa.float64()),
        pa.field("geometry", pa.binary()),  # WKB, level-0 pixels
        pa.field("label", pa.string()),
        pa.field("split", pa.string()),
        pa.field("patient", pa.string()),
        pa.field("author", pa.string()),
        pa.field("source", pa.string()),
        pa.field("created_at", pa.timestamp("us", tz="UTC")),
    ]
)

#: How a label came and went: the change that added it, and the one that withdrew it; see `label_changes`. A label
#: without a withdrawal stands; one that came with ingest, or from an older version, has no change.
LABEL_CHANGES = pa.schema(
    [
        pa.field("added_change", pa.string()),
        pa.field("added_by", pa.string()),
        pa.field("added_at", pa.timestamp("us", tz="UTC")),
        pa.field("added_undoes", pa.string()),  # the change that the change undoes
        pa.field("withdrawn_change", pa.string()),
        pa.field("withdrawn_by", pa.string()),
        pa.field("withdrawn_at", pa.timestamp("us", tz="UTC")),
        pa.field("withdrawn_undoes", pa.string()),
    ]
)
LABEL_ROWS = pa.schema([*LABELS, *LABEL_CHANGES])

HEADS = pa.schema(
    [
        pa.field("name", pa.string(), nullable=False, metadata=_PRIMARY_KEY),
        pa.field("task", pa.string()),
        pa.field("collection", pa.string()),
        pa.field("model", pa.string()),
        pa.field("level", pa.string()),
        pa.field("digest", pa.string()),
        pa.field("record", pa.large_string()),  # JSON
        pa.field("parameters", pa.large_binary()),
        pa.field("examples", pa.large_binary()),
        pa.field("created_at", pa.timestamp("us", tz="UTC")),
    ]
)

AUGMENTERS = pa.schema(
    [
        pa.field("name", pa.string(), nullable=False, metadata=_PRIMARY_KEY),
        pa.field("collection", pa.string()),
        pa.field("digest", pa.string()),
        pa.field("record", pa.large_string()),  # JSON
        pa.field("parameters", pa.large_binary()),
        pa.field("created_at", pa.timestamp("us", tz="UTC")),
    ]
)

#: Who may ask a service, and as what. Revoked tokens stay, so that their names keep their meaning in the access log.
TOKENS = pa.schema(
    [
        pa.field("name", pa.string(), nullable=False, metadata=_PRIMARY_KEY),
        pa.field("role", pa.string()),
        pa.field("project", pa.string()),  # SQL over the columns of slides
        pa.field("digest", pa.string()),  # SHA-256 of the token
        pa.field("created_at", pa.timestamp("us", tz="UTC")),
        pa.field("expires_at", pa.timestamp("us", tz="UTC")),
        pa.field("used_at", pa.timestamp("us", tz="UTC")),
        pa.field("revoked_at", pa.timestamp("us", tz="UTC")),
    ]
)

#: Who changed the store through a service, and who looked at which slide.
ACCESS_LOG = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False, metadata=_PRIMARY_KEY),
        pa.field("at", pa.timestamp("us", tz="UTC")),
        pa.field("caller", pa.string()),
        pa.field("by", pa.string()),
        pa.field("address", pa.string()),
        pa.field("action", pa.string()),
        pa.field("slide_id", pa.string()),
        pa.field("subject", pa.string()),
        pa.field("detail", pa.string()),  # JSON
        pa.field("outcome", pa.string()),
        pa.field("request", pa.string()),
    ]
)

SECRETS = pa.schema(
    [
        pa.field("name", pa.string(), nullable=False, metadata=_PRIMARY_KEY),
        pa.field("value", pa.binary()),
        pa.field("created_at", pa.timestamp("us", tz="UTC")),
    ]
)

LEASES = pa.schema(
    [
        pa.field("name", pa.string(), nullable=False, metadata=_PRIMARY_KEY),
        pa.field("owner", pa.string()),
        pa.field("host", pa.string()),
        pa.field("pid", pa.int64()),
        pa.field("since", pa.timestamp("us", tz="UTC")),
        pa.field("beat", pa.timestamp("us", tz="UTC")),
        pa.field("process", pa.string()),  # see `process_identity`; older versions did not write it
    ]
)

#: Ingests that run or ran; see `runs.Run`.
RUNS = pa.schema(
    [
        pa.field("run_id", pa.string(), nullable=False, metadata=_PRIMARY_KEY),
        pa.field("collections", pa.list_(pa.string())),
        pa.field("state", pa.string()),
        pa.field("user", pa.string()),
        pa.field("host", pa.string()),
        pa.field("pid", pa.int64()),
        pa.field("process", pa.string()),
        pa.field("version", pa.string()),
        pa.field("settings", pa.large_string()),  # JSON
        pa.field("started_at", pa.timestamp("us", tz="UTC")),
        pa.field("beat", pa.timestamp("us", tz="UTC")),
        pa.field("ended_at", pa.timestamp("us", tz="UTC")),
        pa.field("slides", pa.int64()),
        pa.field("done", pa.int64()),
        pa.field("failed", pa.int64()),
        pa.field("empty", pa.int64()),
        pa.field("elsewhere", pa.int64()),
        pa.field("tiles", pa.int64()),
        pa.field("tiles_per_s", pa.float64()),
        pa.field("left_s", pa.float64()),
        pa.field("seconds", pa.float64()),
        pa.field("in_hand", pa.list_(pa.string())),
        pa.field("error", pa.string()),
    ]
)

#: What a service does in the background; see `jobs.Job`.
JOBS = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False, metadata=_PRIMARY_KEY),
        pa.field("kind", pa.string()),
        pa.field("caller", pa.string()),
        pa.field("project", pa.string()),
        pa.field("params", pa.large_string()),  # JSON
        pa.field("state", pa.string()),
        pa.field("progress", pa.string()),  # JSON
        pa.field("result", pa.large_string()),  # JSON
        pa.field("error", pa.string()),
        pa.field("message", pa.string()),
        pa.field("server", pa.string()),
        pa.field("created_at", pa.timestamp("us", tz="UTC")),
        pa.field("started_at", pa.timestamp("us", tz="UTC")),
        pa.field("ended_at", pa.timestamp("us", tz="UTC")),
    ]
)

#: The tables of a store whose columns do not depend on what is in them. A column that is new in a format gets its
#: values from those who write it; see `store_format`.
TABLES: Mapping[str, pa.Schema] = {
    "slides": SLIDES, "outcomes": OUTCOMES, "labels": LABEL_ROWS, "heads": HEADS, "augmenters": AUGMENTERS,
    "tokens": TOKENS, "secrets": SECRETS, "access_log": ACCESS_LOG, "jobs": JOBS, "leases": LEASES,
    "runs": RUNS,
}  # fmt: skip

#: Columns that Lance gives to every table. With a column of its own of such a name, a table cannot be read any more.
LANCE_COLUMNS = frozenset(
    {"_rowid", "_rowaddr", "_rowoffset", "_row_created_at_version", "_row_last_updated_at_version"}
)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


def check_collection_name(name: str, *, noun: str = "collection", option: str | None = None) -> str:
    """Return the name of a collection, or of what `noun` says, or raise ConfigError when it cannot name a table."""
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"{noun} name {name!r} cannot name a table; expected letters, digits, '.', '_' and '-', "
            f"at most 100, beginning with a letter or digit; pass another with --{option or noun}"
        )
    return name


def unusable_columns(names: Iterable[str]) -> list[str]:
    """Those of some names that no column of a table can have: Lance reads a table no more once it has such a column."""
    return [name for name in names if not name or name in LANCE_COLUMNS or set(name) & set("`.\0")]


def tiles_schema(dim: int, metadata: Mapping[bytes, bytes]) -> pa.Schema:
    """The schema of a collection.

    Args:
        dim: Size of an embedding.
        metadata: How the vectors were made; see `CollectionRecord`.
    """
    return pa.schema(
        [
            pa.field("tile_id", pa.int64(), nullable=False),
            pa.field("slide_id", pa.string(), nullable=False),
            pa.field("x", pa.int32(), nullable=False),
            pa.field("y", pa.int32(), nullable=False),
            pa.field("edge_l0", pa.int32(), nullable=False),
            pa.field("name", pa.string()),
            pa.field("tissue", pa.float32()),
            pa.field("vector", pa.list_(pa.float16(), dim), nullable=False),
        ],
        metadata=metadata,
    )


def views_schema(dim: int, metadata: Mapping[bytes, bytes]) -> pa.Schema:
    """The schema of a table of views, a row a view. Arguments as of `tiles_schema`."""
    return pa.schema(
        [
            pa.field("tile_id", pa.int64(), nullable=False),
            pa.field("slide_id", pa.string(), nullable=False),
            pa.field("view", pa.int16(), nullable=False),
            *(pa.field(name, pa.float32(), nullable=False) for name in PARAMETERS),
            pa.field("vector", pa.list_(pa.float16(), dim), nullable=False),
        ],
        metadata=metadata,
    )


def batch_rows(dim: int) -> int:
    """Rows of a record batch of about BATCH_BYTES of vectors."""
    return max(1, BATCH_BYTES // (2 * dim))
