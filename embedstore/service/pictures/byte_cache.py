"""A cache of encoded pictures, bounded in bytes; what several ask for at once is made once."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future


class ByteCache:
    """The pictures that were asked for last.

    Attributes:
        held_bytes: Sum of the sizes of the pictures that it holds.
    """

    def __init__(self, most_bytes: int):
        self.most_bytes, self.held_bytes = most_bytes, 0
        self._held: OrderedDict[Hashable, bytes] = OrderedDict()
        self._making: dict[Hashable, Future[bytes]] = {}
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> bytes | None:
        """What it holds under a key."""
        with self._lock:
            if (found := self._held.get(key)) is not None:
                self._held.move_to_end(key)
            return found

    def get_or_make(self, key: Hashable, make: Callable[[], bytes]) -> bytes:
        """What it holds under a key, or what `make` makes.

        Of several threads that ask at once one calls `make`, and all get its result or its error. Errors are not kept.
        """
        with self._lock:
            if (found := self._held.get(key)) is not None:
                self._held.move_to_end(key)
                return found
            making = self._making.get(key)
            if is_maker := making is None:
                making = self._making[key] = Future()
        if not is_maker:
            return making.result()
        try:
            made = make()
        except BaseException as error:
            with self._lock:
                del self._making[key]
            making.set_exception(error)
            raise
        with self._lock:
            del self._making[key]
            self._keep(key, made)
        making.set_result(made)
        return made

    def drop(self, unwanted: Callable[[Hashable], bool]) -> None:
        """Drop what it holds under keys that are unwanted."""
        with self._lock:
            for key in [key for key in self._held if unwanted(key)]:
                self.held_bytes -= len(self._held.pop(key))

    def _keep(self, key: Hashable, made: bytes) -> None:
        if len(made) > self.most_bytes:
            return
        self._held[key] = made
        self.held_bytes += len(made)
        while self.held_bytes > self.most_bytes:
            _, dropped = self._held.popitem(last=False)
            self.held_bytes -= len(dropped)
