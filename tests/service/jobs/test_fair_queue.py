"""Callers take turns, and nothing is lost."""

from embedstore.service.jobs.fair_queue import FairQueue


def test_callers_take_turns():
    queue: FairQueue[str] = FairQueue()
    for item in ("a1", "a2", "a3", "b1", "c1", "c2"):
        queue.push(item[0], item)
    assert len(queue) == 6 and queue.count("a") == 3 and queue.count("d") == 0
    assert queue.drop("a", "a2") and not queue.drop("a", "a2") and not queue.drop("d", "d1")
    assert [queue.pop() for _ in range(6)] == ["a1", "b1", "c1", "a3", "c2", None]
    queue.push("a", "a4")
    assert queue.clear() == ["a4"] and len(queue) == 0 and queue.pop() is None
