"""The labels of a task, as the store has them."""

from embedstore import api


def standing(store: api.Store, task: str) -> dict[str, int]:
    """{class: labels that stand}."""
    counts: dict[str, int] = {}
    if task in store.labels.tasks:
        for label in store.labels.table(task).to_arrow()["label"].to_pylist():
            counts[label] = counts.get(label, 0) + 1
    return counts
