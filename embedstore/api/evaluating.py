"""Evaluations of heads, for `Head.evaluate` and `Store.evaluate`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embedstore.api.collection import Collection
from embedstore.api.evaluations import Evaluations
from embedstore.errors import ConfigError
from embedstore.progress import OnProgress
from embedstore.progress_bar import progress_bar
from embedstore.settings import build_config
from embedstore.store import Store as StoreTables

if TYPE_CHECKING:
    from heads.config import EvaluateConfig


def evaluate_on(
    tables: StoreTables,
    names: Sequence[str],
    config: "EvaluateConfig | None",
    *,
    collection: Collection | str | None,
    where: str | None,
    predictions: str | Path | None,
    on_progress: OnProgress | None,
    **settings: Any,
) -> Evaluations:
    """Evaluate heads of a store; arguments and errors as of `Store.evaluate`."""
    from embedstore.export.table_file import rows_path, write_rows
    from embedstore.output_files import require_file
    from heads.config import EvaluateConfig

    config = build_config(EvaluateConfig, config, **settings)
    on = _place(tables, collection)
    if predictions is not None:  # fail before the work, not after it
        require_file(rows_path(predictions, what="predictions"))
    from heads.cohorts.evaluate_cohorts import evaluate_cohorts

    with progress_bar(on_progress) as report:
        found = evaluate_cohorts(
            tables, names, config, on=on, where=where, predictions=predictions is not None, on_progress=report
        )
    if found.predictions is not None and predictions is not None:
        write_rows(found.predictions, predictions, what="predictions")
    return Evaluations(found.evaluations)


def _place(tables: StoreTables, collection: Any) -> tuple[StoreTables, str] | None:
    """The store and the name of a collection, or of the name of one of the heads' store."""
    if collection is None:
        return None
    if isinstance(collection, str):
        return tables, collection
    if isinstance(collection, Collection):
        return collection._tables, collection.name
    raise ConfigError(
        f"collection is a {type(collection).__name__}; expected the name of a collection, or a collection of a "
        "store that was opened with embedstore.open"
    )
