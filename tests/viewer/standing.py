"""The labels of a task, as the store has them."""

import time
from collections import Counter
from collections.abc import Callable

from embedstore import api
from embedstore.errors import TaskNotFoundError


def standing(store: api.Store, task: str) -> dict[str, int]:
    """{class: labels that stand}."""
    try:
        labels = store.labels.table(task).to_arrow()["label"].to_pylist()
    except TaskNotFoundError:  # not yet, or no more
        return {}
    return dict(Counter(labels))


def until_standing(store: api.Store, task: str, holds: Callable[[dict[str, int]], bool]) -> dict[str, int]:
    """The same once something holds of it: what was done on the page is on its way for a while."""
    deadline = time.monotonic() + 300
    while not holds(counts := standing(store, task)):
        assert time.monotonic() < deadline, f"the labels that stand are {counts}"
        time.sleep(0.1)
    return counts
