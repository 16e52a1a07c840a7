"""The progress of a run as Ray's metrics, which a cluster exports for Prometheus."""

from typing import Any

from embedstore.store import Run

STATES = ("done", "failed", "empty", "elsewhere")
#: Ray's metrics want a value for each of their tags, and all of them text.
TAGS = ("run_id", "collections")


class RunMetrics:
    """Counters and gauges of the driver; made while Ray runs.

    What happens in the last ten seconds before a driver ends may never be exported; the row of the run has it.
    """

    def __init__(self) -> None:
        from ray.util.metrics import Counter, Gauge

        self._tiles = Counter("embedstore_tiles", description="Tiles embedded.", tag_keys=TAGS)
        self._slides = Counter("embedstore_slides", description="Slides that ended.", tag_keys=(*TAGS, "state"))
        self._left = Gauge("embedstore_slides_left", description="Slides that have not ended.", tag_keys=TAGS)
        self._told: dict[str, int] = {}

    def update(self, run: Run) -> None:
        """Tell how far the run is."""
        tags = {"run_id": run.run_id, "collections": ",".join(run.collections)}
        self._add(self._tiles, "tiles", run.tiles, tags)
        counts = {state: int(getattr(run, state)) for state in STATES}
        for state, number in counts.items():
            self._add(self._slides, state, number, {**tags, "state": state})
        self._left.set(run.slides - sum(counts.values()), tags=tags)

    def _add(self, counter: Any, name: str, number: int, tags: dict[str, str]) -> None:
        """Raise a counter to a number; one that fell, as slides turned out to be another run's, stays as it is."""
        more = number - self._told.get(name, 0)
        if more > 0:
            counter.inc(more, tags=tags)
            self._told[name] = number
