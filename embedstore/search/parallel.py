"""Many searches at a time."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from embedstore.cores import cores

Item = TypeVar("Item")
Result = TypeVar("Result")

#: Lance releases Python's lock while it searches; more than a few threads only wait for the same cores.
THREADS = min(8, cores())


def parallel_map(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """`map` on several threads: the result of each item, in the order of the items."""
    with ThreadPoolExecutor(THREADS) as pool:
        yield from pool.map(function, items)
