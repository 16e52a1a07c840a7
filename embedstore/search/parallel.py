"""Many questions at a time."""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")

#: Lance lets Python's lock go while it searches; more than a few threads only wait for the same cores.
THREADS = min(8, os.cpu_count() or 1)


def ask_many(
    ask: Callable[[Item], Answer], items: Iterable[Item], *, tell: Callable[[int], None] | None = None
) -> list[Answer]:
    """What `ask`, such as a search, answers to each item, in their order; several threads ask.

    Args:
        tell: Called with the number of answers so far.
    """
    answers = []
    with ThreadPoolExecutor(THREADS) as pool:
        for found in pool.map(ask, items):
            answers.append(found)
            if tell is not None:
                tell(len(answers))
    return answers
