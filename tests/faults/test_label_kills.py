"""People's processes killed while they label at once: each change is there as a whole, or not at all."""

import itertools
import multiprocessing
import random
import time
from pathlib import Path

import pytest

from embedstore.store import Label, Store

pytestmark = pytest.mark.slow

PLACES = 5


def _label(uri: str, author: str) -> None:
    labels = Store.open(uri).labels
    for i in itertools.count():
        given = [
            Label(task="t", label=str(i), kind="point", slide_id="a", x=x, y=0, author=author) for x in range(PLACES)
        ]
        labels.add("t", given, author=author)
        if i % 3 == 2:
            labels.undo("t", author=author)


def test_people_killed_while_they_label(tmp_path: Path):
    store, rng = Store.create(tmp_path / "store"), random.Random(3)
    context = multiprocessing.get_context("spawn")
    authors = ["anna", "ben", "carl"]
    for _ in range(2):
        people = [context.Process(target=_label, args=(store.uri, author)) for author in authors]
        before = len(store.labels.changes("t"))
        for person in people:
            person.start()
        while len(store.labels.changes("t")) < before + 6:
            assert all(person.exitcode is None for person in people)
            time.sleep(0.05)
        for person in people:
            time.sleep(rng.uniform(0, 0.3))
            person.kill()
            person.join()
        rows = store.labels.table(task="t").to_pylist()
        for author in authors:
            own = [(row["x"], row["label"]) for row in rows if row["author"] == author]
            assert len({x for x, _ in own}) == len(own) and len({name for _, name in own}) <= 1
            assert len(own) in (0, PLACES)
        changes = store.labels.changes("t").values()
        assert {each.added for each in changes} | {each.withdrawn for each in changes} == {0, PLACES}
        assert sum(each.added - each.withdrawn for each in changes) == len(rows)
