"""Labels and splits in the files of benchmarks, for `Labels.export_benchmark`."""

from collections.abc import Sequence
from pathlib import Path

from embedstore.config import require
from embedstore.errors import ConfigError
from embedstore.export_format import Benchmark
from embedstore.progress import OnProgress
from embedstore.store import Store as StoreTables

#: What each format takes beside the task.
_TAKES: dict[Benchmark, tuple[str, ...]] = {
    "patho-bench": ("head", "collection"),
    "eva": ("head", "collection"),
    "pathorob": ("collection", "site"),
}


def export_benchmark(
    tables: StoreTables,
    out: Path,
    task: str,
    format: Benchmark,
    *,
    head: str | None,
    collection: str | None,
    site: str | None,
    on_progress: OnProgress,
) -> tuple[Sequence[Path], tuple[str, ...]]:
    """The files that were written, and notes; arguments and errors as of `Labels.export_benchmark`."""
    if format not in _TAKES:
        raise ConfigError(f"format is {format!r}; expected one of {', '.join(_TAKES)}")
    for name, value in (("head", head), ("collection", collection), ("site", site)):
        require(value is None or name in _TAKES[format], f"--{name} does not go with the format {format}")
    from embedstore.export.benchmarks import labelled_slides, write_eva, write_patho_bench, write_pathorob
    from embedstore.output_files import require_folder

    labels = tables.labels.of_task(task)
    if format == "pathorob":
        if site is None:
            raise ConfigError(
                "pathorob compares medical centres; name the column of the slides with them: --site COLUMN"
            )
        require_folder(out)
        paths = write_pathorob(
            out, tables, tables.collection(collection), task, labels, site=site, on_progress=on_progress
        )
        return paths, ()
    split = None
    if head is not None:
        from heads.head_split import slide_split

        split = slide_split(tables, tables.heads.get(head))
    if format == "patho-bench":
        named = None if collection is None else tables.collection(collection).name
        labelled = labelled_slides(tables, task, split=split, collection=named)
        require_folder(out)
        return write_patho_bench(out, labelled), labelled.notes
    source = tables.collection(collection)
    labelled = labelled_slides(tables, task, split=split, collection=source.name)
    require_folder(out)
    return write_eva(out, labelled, source, on_progress=on_progress), labelled.notes
