"""Whether an object store lets two commits overwrite each other."""

import uuid
from concurrent.futures import ThreadPoolExecutor

import lance
import pyarrow as pa

from embedstore.errors import StoreError

#: Commits that race for the same version; without put-if-absent some of them vanish.
RACERS = 8


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
