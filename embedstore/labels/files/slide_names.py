"""Which slide of a store a name or a file means."""

import difflib
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from embedstore.errors import SlideNotInStoreError

SUFFIXES = (".gz", ".geojson", ".json", ".xml")
CLOSE = 5  # names that are suggested


class SlideNames:
    """The slides of a store, to be found by id, by file name, or by file name without its ending."""

    def __init__(self, slide_ids: Iterable[str]):
        self._ids = sorted(slide_ids)
        self._by_name: dict[str, list[str]] = {}
        for slide_id in self._ids:
            path = PurePosixPath(slide_id)
            for name in {path.name, path.stem}:
                self._by_name.setdefault(name, []).append(slide_id)
        self._known = set(self._ids)

    def find(self, name: str) -> list[str]:
        """Slides that a name may mean: the one of that id, or those whose file is called so."""
        return [name] if name in self._known else self._by_name.get(name, [])

    def one(self, name: str, *, where: str = "") -> str:
        """The slide that a name means.

        Raises:
            SlideNotInStoreError: none is called so, or several are.
        """
        found = self.find(name)
        if len(found) == 1:
            return found[0]
        raise SlideNotInStoreError(f"{where}{': ' if where else ''}{self._why(name, found)}")

    def of_file(self, path: Path) -> str:
        """The slide that a file of annotations is about: `a.geojson`, `a.svs.geojson` and `sub/a.xml` mean `a.svs`.

        Where several slides are called so, the one in a folder of the same name.

        Raises:
            SlideNotInStoreError: none is called so, or several are; the message names close ones.
        """
        name = path.name
        while name.lower().endswith(SUFFIXES):
            name = name[: name.rindex(".")]
        found = self._by_name.get(name) or self.find(name)
        if len(found) > 1:
            folders = path.absolute().parent.parts
            for depth in range(max(len(PurePosixPath(slide).parts) for slide in found) - 1, 0, -1):
                same = [slide for slide in found if PurePosixPath(slide).parts[:-1][-depth:] == folders[-depth:]]
                if len(same) == 1:
                    return same[0]
            found = self.find(name)
        if len(found) == 1:
            return found[0]
        raise SlideNotInStoreError(f"{path}: {self._why(name, found)}; name the slide with --slide")

    def _why(self, name: str, found: list[str]) -> str:
        if found:
            return f"{name!r} may be any of the slides {', '.join(found[:CLOSE])}"
        near = [slide for slide in self._ids if name.lower() in slide.lower()]
        near += difflib.get_close_matches(name, self._ids, n=CLOSE) if len(self._ids) < 10_000 else []
        close = list(dict.fromkeys(near))[:CLOSE]
        hint = f"; close names: {', '.join(close)}" if close else "; `embedstore status` lists the slides"
        return f"no slide of the store is called {name!r}{hint}"
