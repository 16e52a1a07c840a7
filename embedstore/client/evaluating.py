"""Evaluations of heads over HTTP, for `RemoteHead.evaluate` and `RemoteStore.evaluate`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embedstore.client.collection import RemoteCollection
from embedstore.client.connection import Connection
from embedstore.client.jobs import plain_settings, run_job
from embedstore.errors import ConfigError
from embedstore.progress import OnProgress

if TYPE_CHECKING:
    from embedstore.api import Evaluations
    from heads.config import EvaluateConfig


def evaluate_over(
    connection: Connection,
    names: Sequence[str],
    config: "EvaluateConfig | None",
    *,
    collection: RemoteCollection | str | None,
    where: str | None,
    predictions: str | Path | None,
    on_progress: OnProgress | None,
    **settings: Any,
) -> "Evaluations":
    """Evaluate heads of a service; arguments and errors as of `RemoteStore.evaluate`."""
    from embedstore.api import Evaluations
    from heads.cohorts.evaluation import CohortEvaluation

    if predictions is not None:
        raise ConfigError(
            "over HTTP, an evaluation writes no predictions; `head.predict(…)` stores them, and `head.export(…)` "
            "writes them here"
        )
    body = {
        "heads": list(names),
        "collection": _name(connection, collection),
        "where": where,
        "settings": plain_settings(config, settings),
    }
    job = connection.post("/api/evaluations", {name: value for name, value in body.items() if value})
    found = run_job(connection, job, on_progress)["evaluations"]
    return Evaluations(
        tuple(CohortEvaluation.from_record({**each, "where": where, "store": connection.url}) for each in found)
    )


def _name(connection: Connection, collection: RemoteCollection | str | None) -> str | None:
    """The name of a collection of the same service."""
    if isinstance(collection, RemoteCollection) and collection._connection is connection:
        return collection.name
    if collection is None or isinstance(collection, str):
        return collection
    raise ConfigError(
        f"collection is a {type(collection).__name__}; over HTTP, expected a collection of the same service or its name"
    )
