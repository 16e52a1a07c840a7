"""A queue in which those who asked take turns, whoever asked for most."""

from collections import OrderedDict, deque
from typing import Generic, TypeVar

T = TypeVar("T")


class FairQueue(Generic[T]):
    """Items of several callers: one of each in turn, those of one caller in their order. Not safe between threads."""

    def __init__(self) -> None:
        self._of: OrderedDict[str, deque[T]] = OrderedDict()  # by caller, whose turn is next first

    def __len__(self) -> int:
        return sum(map(len, self._of.values()))

    def count(self, caller: str) -> int:
        """How many items of a caller wait."""
        return len(self._of.get(caller, ()))

    def push(self, caller: str, item: T) -> None:
        """Add an item of a caller."""
        self._of.setdefault(caller, deque()).append(item)

    def pop(self) -> T | None:
        """Take the next item, of the caller whose turn it is; None where there is none."""
        if not self._of:
            return None
        caller, items = self._of.popitem(last=False)
        item = items.popleft()
        if items:
            self._of[caller] = items  # behind the others
        return item

    def drop(self, caller: str, item: T) -> bool:
        """Take an item out; whether it was there."""
        items = self._of.get(caller)
        if items is None or item not in items:
            return False
        items.remove(item)
        if not items:
            del self._of[caller]
        return True

    def clear(self) -> list[T]:
        """Take all items out."""
        left = [item for items in self._of.values() for item in items]
        self._of.clear()
        return left
