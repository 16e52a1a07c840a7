"""Slides that stay open between requests: a bounded number, each in a process of its own."""

import contextlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Container, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field

from embedstore.errors import SlideError
from embedstore.service.pictures.deep_zoom import DeepZoom
from embedstore.service.pictures.slide_file import SlideFile
from embedstore.slides import Slide, open_slide

#: A damaged slide is left alone for so long, seconds: each try can cost a process and the time of `answer_s`.
REFUSED_S = 60.0
MOST_REFUSED = 1000
#: Searches go before pictures. Beside 32 clients who ask for new thumbnails on 2 cores, a search took 7 ms, not 19.
NICENESS = 10
#: How often slides that nobody asks for are looked for, seconds.
LOOK_S = 5.0


@dataclass(eq=False)
class _Entry:
    """A slide that is open, or being opened."""

    opened: "Future[DeepZoom]" = field(default_factory=Future)
    users: int = 0
    last_used: float = 0.0

    @property
    def failed(self) -> bool:
        """Whether it could not be opened."""
        return self.opened.done() and self.opened.exception() is not None

    @property
    def usable(self) -> bool:
        """Whether it is open, and can still be read."""
        return self.opened.done() and not self.failed and self.opened.result().slide.usable


class OpenSlides:
    """The slides that were asked for last; several threads may use one at a time.

    A slide that cannot be opened, or whose process crashes or gives no answer, is refused for a minute with the same
    error, until its file changes.
    """

    def __init__(
        self,
        most: int = 8,
        *,
        idle_s: float = 120.0,
        answer_s: float = 20.0,
        open_slide: Callable[..., Slide] = open_slide,
        clock: Callable[[], float] = time.monotonic,
    ):
        """Open none yet.

        Args:
            most: Slides that stay open, 50 to 150 MB each; more only while more threads use slides.
            idle_s: Seconds after which a slide that nobody asks for is closed.
            answer_s: Seconds after which a slide that gives no answer is given up.
            open_slide: As `embedstore.slides.open_slide`.
            clock: Seconds.
        """
        self._most, self._idle_s, self._answer_s = most, idle_s, answer_s
        self._open, self._clock = open_slide, clock
        self._entries: OrderedDict[tuple[str, str], _Entry] = OrderedDict()
        self._refused: OrderedDict[tuple[str, str], tuple[SlideError, float]] = OrderedDict()
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._watch: threading.Thread | None = None

    def __len__(self) -> int:
        return len(self._entries)

    @contextlib.contextmanager
    def use(self, file: SlideFile, stamp: str) -> Iterator[DeepZoom]:
        """An open slide, for the time of a `with`.

        Args:
            file: The slide.
            stamp: From `file.stamp()`.
        Raises:
            SlideError: it cannot be opened, or was refused because it could not be read before. Errors within the
                `with` name the slide, and not its path.
        """
        key = (file.path, stamp)
        entry, is_new = self._lease(key)
        try:
            if is_new:
                self._open_entry(entry, file)
            yield entry.opened.result()
        except SlideError as error:
            told = type(error)(file.in_own_words(error))
            if not entry.usable:
                self._drop(key, entry, refused=told)
            raise told from error
        except BaseException:
            if entry.failed:
                self._drop(key, entry)
            raise
        finally:
            self._release(entry)

    def close_idle(self) -> None:
        """Close the slides that nobody asked for lately."""
        oldest = self._clock() - self._idle_s
        self._close_those(lambda path, entry: entry.last_used < oldest)

    def close_others(self, paths: Container[str]) -> None:
        """Close the slides that are not at one of some paths."""
        self._close_those(lambda path, entry: path not in paths)

    def _close_those(self, unwanted: Callable[[str, _Entry], bool]) -> None:
        """Close the slides that are unwanted and not in use."""
        with self._lock:
            keys = [key for key, entry in self._entries.items() if not entry.users and unwanted(key[0], entry)]
            closing = [self._entries.pop(key) for key in keys]
        _close(closing)

    def close(self) -> None:
        """Close all slides; whoever still reads one gets an error."""
        self._ending.set()
        with self._lock:
            closing = list(self._entries.values())
            self._entries.clear()
            for entry in closing:
                if entry.users and entry.usable:
                    entry.opened.result().slide.abort()
        _close(closing)

    def _lease(self, key: tuple[str, str]) -> tuple[_Entry, bool]:
        closing = []
        with self._lock:
            if refused := self._refused.get(key):
                error, until = refused
                if self._clock() < until:
                    raise type(error)(*error.args)
                del self._refused[key]
            entry = self._entries.get(key)
            if entry is not None and not entry.users and not entry.usable:  # its process was killed meanwhile
                entry = None
            is_new = entry is None
            if entry is None:
                for other in [other for other, held in self._entries.items() if not held.users]:
                    if len(self._entries) < self._most:
                        break
                    closing.append(self._entries.pop(other))
                entry = self._entries[key] = _Entry()
            self._entries.move_to_end(key)
            entry.users += 1
            if self._watch is None and not self._ending.is_set():
                self._watch = threading.Thread(target=self._close_idle_ones, name="idle slides", daemon=True)
                self._watch.start()
        _close(closing)
        return entry, is_new

    def _open_entry(self, entry: _Entry, file: SlideFile) -> None:
        slide = None
        try:
            slide = self._open(file.path, reader=file.reader, answer_s=self._answer_s, niceness=NICENESS)
            entry.opened.set_result(DeepZoom(slide))
        except BaseException as error:
            if slide is not None:
                slide.close()
            entry.opened.set_exception(error)

    def _drop(self, key: tuple[str, str], entry: _Entry, *, refused: SlideError | None = None) -> None:
        with self._lock:
            if self._entries.get(key) is not entry:
                return
            del self._entries[key]
            if refused is not None:
                self._refused[key] = refused, self._clock() + REFUSED_S
                while len(self._refused) > MOST_REFUSED:
                    self._refused.popitem(last=False)

    def _release(self, entry: _Entry) -> None:
        with self._lock:
            entry.users -= 1
            entry.last_used = self._clock()

    def _close_idle_ones(self) -> None:
        while not self._ending.wait(LOOK_S):
            self.close_idle()


def _close(entries: list[_Entry]) -> None:
    for entry in entries:
        if entry.opened.done() and not entry.failed:
            entry.opened.result().slide.close()
