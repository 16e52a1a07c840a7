"""Compaction: merges the small files of a store's tables, purges removed rows and forgets old versions."""

from dataclasses import asdict, dataclass

from embedstore.progress import OnProgress, Progress, no_progress
from embedstore.store.collection import Collection
from embedstore.store.location import local_path
from embedstore.store.store import Store
from embedstore.store.writer import CollectionWriter, ViewsWriter


@dataclass(frozen=True, kw_only=True)
class TableSize:
    """How large the table of a collection is.

    Attributes:
        rows, fragments, versions: How many it has.
        bytes: On disk; None in an object store.
    """

    rows: int
    fragments: int
    versions: int
    bytes: int | None


@dataclass(frozen=True, kw_only=True)
class Compaction:
    """The size of a collection before and after compaction."""

    before: TableSize
    after: TableSize

    def as_record(self) -> dict[str, int]:
        """As {rows, fragments, versions, bytes}, and {rows_before …}; without bytes in an object store."""
        before = {f"{name}_before": value for name, value in asdict(self.before).items()}
        return {name: value for name, value in (before | asdict(self.after)).items() if value is not None}


def compact(store: Store, *, keep_s: float = 3600.0, on_progress: OnProgress = no_progress) -> dict[str, Compaction]:
    """Merge small files, purge removed rows and forget versions older than `keep_s` seconds.

    Returns:
        {collection: its size before and after}.
    Raises:
        StoreBusyError: another process is writing to a collection.
    """
    names, report = store.collection_names(), {}
    for done, name in enumerate(names):
        on_progress(Progress(stage="compact", message=name, done=done, total=len(names), unit="collections"))
        with store.lease(name, wait_s=0):
            store.runs.require_none([name])
            collection = store.collection(name)
            before = _size(collection)
            CollectionWriter(collection).compact(keep_s=keep_s, purge=True)
            if (views := store.views(name)).exists():
                ViewsWriter(views).compact(keep_s=keep_s, purge=True)
            report[name] = Compaction(before=before, after=_size(collection))
    for table in store.derived_tables():
        table.tidy(keep_s=keep_s)
    of_service = (store.tokens, store.secrets, store.jobs, store.runs, store.access_log)
    for own in (store.ledger, store.labels, store.heads, store.augmenters, *of_service):
        own.tidy(keep_s=keep_s)
    on_progress(Progress(stage="compact", done=len(names), total=len(names), unit="collections"))
    return report


def _size(collection: Collection) -> TableSize:
    dataset = collection.dataset()
    folder = local_path(collection.table.uri)
    return TableSize(
        rows=dataset.count_rows(),
        fragments=len(dataset.get_fragments()),
        versions=len(dataset.versions()),
        bytes=None if folder is None else sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()),
    )
