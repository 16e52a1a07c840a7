"""Finding the slide of a store that a name or a label file means."""

from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from embedstore.errors import SlideNotInStoreError
from embedstore.typed_values import close_names

SUFFIXES = (".gz", ".zip", ".geojson", ".json", ".xml")
SUGGESTED = 5  # names in an error


class SlideNames:
    """The slides of a store, by id, by file name, and by file name without its ending."""

    def __init__(self, slide_ids: Iterable[str]):
        self._ids = sorted(slide_ids)
        self._id_set = set(self._ids)
        self._by_name: dict[str, list[str]] = {}
        for slide_id in self._ids:
            path = PurePosixPath(slide_id)
            for name in {path.name, path.stem}:
                self._by_name.setdefault(name, []).append(slide_id)

    def find(self, name: str) -> list[str]:
        """Slides that a name may mean: the one with that id, or those with that file name."""
        return [name] if name in self._id_set else self._by_name.get(name, [])

    def one(self, name: str, *, where: str = "") -> str:
        """The slide that a name means.

        Raises:
            SlideNotInStoreError: no slide, or more than one, has this name.
        """
        candidates = self.find(name)
        if len(candidates) == 1:
            return candidates[0]
        raise SlideNotInStoreError(f"{where}{': ' if where else ''}{self._why(name, candidates)}")

    def of_file(self, path: Path) -> str:
        """The slide that a file of annotations is about: `a.geojson`, `a.svs.geojson` and `sub/a.xml` mean `a.svs`.

        Of several slides with this name, it is the one whose folder is called like the file's.

        Raises:
            SlideNotInStoreError: no slide, or more than one, has this name; the message suggests others.
        """
        name = path.name
        while name.lower().endswith(SUFFIXES):
            name = name[: name.rindex(".")]
        candidates = self._by_name.get(name) or self.find(name)
        if len(candidates) > 1:
            folders = path.absolute().parent.parts
            for depth in range(max(len(PurePosixPath(slide).parts) for slide in candidates) - 1, 0, -1):
                same = [slide for slide in candidates if PurePosixPath(slide).parts[:-1][-depth:] == folders[-depth:]]
                if len(same) == 1:
                    return same[0]
            candidates = self.find(name)
        if len(candidates) == 1:
            return candidates[0]
        raise SlideNotInStoreError(f"{path}: {self._why(name, candidates)}; name the slide with --slide")

    def _why(self, name: str, candidates: list[str]) -> str:
        if candidates:
            return f"{name!r} may be any of the slides {', '.join(candidates[:SUGGESTED])}"
        hint = close_names(name, self._ids) or "; `embedstore status` lists the slides"
        return f"no slide of the store is called {name!r}{hint}"
