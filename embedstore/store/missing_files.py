"""Whether all files of a store are there: a copy that was made while somebody wrote may lack some."""

from collections.abc import Iterator
from pathlib import Path

import lance

from embedstore.store.location import local_path, table_names

#: A table that is compacted while it is looked at loses files that its newest version has no need of: look again.
TRIES = 2


def missing_files(uri: str) -> list[str]:
    """Files that the newest versions of a store's tables have, and that are not there, by their paths in the store.

    Returns:
        Nothing for an object store, which copies no files in part.
    """
    folder = local_path(uri)
    if folder is None:
        return []
    return [name for table in table_names(uri) for name in _missing_of_table(folder / f"{table}.lance")]


def _missing_of_table(table: Path) -> list[str]:
    missing: list[str] = []
    for _ in range(TRIES):
        missing = [f"{table.name}/{name}" for name in _files(lance.dataset(str(table))) if not (table / name).exists()]
        if not missing:
            break
    return missing


def _files(dataset: lance.LanceDataset) -> Iterator[str]:
    """Data, removed rows and search indexes of a version, by their paths in the table."""
    for fragment in dataset.get_fragments():
        yield from (f"data/{file.path}" for file in fragment.data_files())
        if (removed := fragment.deletion_file()) is not None:
            yield removed
    for index in dataset.describe_indices():
        yield from (f"_indices/{segment.uuid}" for segment in index.segments)
