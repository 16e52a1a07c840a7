"""Where a store is: a directory, or an object store of which two commits must not overwrite each other."""

import os
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import lance
import pyarrow as pa

from embedstore.access_errors import access_error
from embedstore.errors import AccessError, StoreError

#: Commits that race for the same version; without put-if-absent some of them vanish.
RACERS = 8


def local_path(uri: str) -> Path | None:
    """The directory of a local store, None for an object store."""
    if uri.startswith("file://"):
        return Path(uri.removeprefix("file://"))
    return None if "://" in uri else Path(os.path.abspath(os.path.expanduser(uri)))  # noqa: PTH100, PTH111


def table_names(uri: str) -> list[str]:
    """Names of the Lance tables of a store, in no particular order.

    Raises:
        StoreError: the object store cannot be listed.
    """
    local = local_path(uri)
    if local is not None:
        try:  # `glob` would say nothing of a folder that may not be read
            return sorted(path.stem for path in local.iterdir() if path.suffix == ".lance" and _has_version(path))
        except (FileNotFoundError, NotADirectoryError):
            return []
    import lancedb  # takes 2 s to import, which no command on a local store should wait for

    try:
        return list(lancedb.connect(uri).list_tables().tables)
    except (ValueError, OSError, RuntimeError) as error:
        raise StoreError(f"the object store at {uri} cannot be listed: {access_error(error) or error}") from error


def _has_version(table: Path) -> bool:
    """Whether a table was made: a process that was killed, or found the disk full, may have left folders alone."""
    try:
        return next((table / "_versions").glob("*.manifest"), None) is not None
    except OSError:
        return True  # it may not be read: whoever opens it is told


def require_writable(uri: str) -> None:
    """Check that a store can be changed, before some long work that ends with a change.

    Raises:
        AccessError: it cannot; the message names what is closed.
    """
    local = local_path(uri)
    if local is None:
        table = f"{uri.rstrip('/')}/probe-{uuid.uuid4().hex[:8]}.lance"
        try:
            lance.write_dataset(pa.table({"probe": [0]}), table)
            lance.LanceDataset.drop(table)
        except (ValueError, OSError, RuntimeError) as error:
            raise AccessError(f"the object store at {uri} cannot be written: {access_error(error) or error}") from error
        return
    for folder in (local, *local.glob("*.lance"), *local.glob("*.lance/*/")):
        if not os.access(folder, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids):
            raise AccessError(
                f"the store {local} cannot be written: no permission for {folder}; ask its owner for it, or work on a "
                "copy of the store"
            )


def require_put_if_absent(uri: str) -> None:
    """Race a few commits to a table that is thrown away, and count what is left.

    Lance commits by creating the next version's manifest, which must fail where another writer has just created it.

    Raises:
        StoreError: rows vanished: the object store has no put-if-absent, and would lose slides in silence.
    """
    table = f"{uri.rstrip('/')}/probe-{uuid.uuid4().hex[:8]}.lance"
    rows = [pa.table({"racer": [racer]}) for racer in range(RACERS)]
    lance.write_dataset(rows[0], table)
    try:
        with ThreadPoolExecutor(RACERS) as threads:
            list(threads.map(lambda row: lance.write_dataset(row, table, mode="append"), rows[1:]))
        left = lance.dataset(table).count_rows()
    finally:
        lance.LanceDataset.drop(table)
    if left != RACERS:
        raise StoreError(
            f"the object store at {uri} lost {RACERS - left} of {RACERS} commits that raced: it has no put-if-absent "
            "(conditional writes); expected one that has, such as S3, GCS, Azure or a recent MinIO; "
            "or use a directory on a shared file system"
        )
