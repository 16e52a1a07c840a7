"""Slides that a store knows already, recognised by their files under whatever ids they are given."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from embedstore.errors import EmbedStoreError
from embedstore.slides import FoundSlides, SlideSource, fingerprint_of, first_few, kind_of, nested_folders, real_paths
from embedstore.store import SlideRow, Store


def recognise(found: FoundSlides, store: Store) -> tuple[FoundSlides, dict[str, str]]:
    """The slides under the ids that a store knows them by, and {id that was given: id of the store} of the others.

    A slide is known by its file: by its path, without links, or, where the file that the store knows is gone, by its
    fingerprint. A copy beside the file is a slide of its own.
    """
    rows = store.ledger.slides()
    stored = {row.slide_id for row in rows}
    new = [source for source in found.sources if source.slide_id not in stored]
    if not rows or not new:
        return found, {}
    taken = {source.slide_id for source in found.sources}
    ids: dict[str, str] = {}
    candidates = _by_path(new, rows) | _moved(new, [row for row in rows if row.slide_id not in taken])
    for slide_id, known_id in candidates.items():
        if known_id not in taken:  # otherwise another file was given that has its id
            ids[slide_id] = known_id
            taken.add(known_id)
    sources = [replace(source, slide_id=ids.get(source.slide_id, source.slide_id)) for source in found.sources]
    summary = replace(
        found.summary,
        notes=(*found.summary.notes, *_renamed(ids)),
        warnings=(*found.summary.warnings, *_overlaps([one for one in new if one.slide_id not in ids], rows)),
    )
    return FoundSlides(sources=tuple(sorted(sources, key=lambda source: source.slide_id)), summary=summary), ids


def _by_path(new: Sequence[SlideSource], rows: Sequence[SlideRow]) -> dict[str, str]:
    """{id that is new: id that the store has for its path}."""
    real_path = real_paths()
    known = {real_path(row.path): row.slide_id for row in rows if row.path}
    return {source.slide_id: known[path] for source in new if (path := real_path(source.path)) in known}


def _moved(new: Sequence[SlideSource], rows: Sequence[SlideRow]) -> dict[str, str]:
    """{id that is new: id of a slide of the same content, whose file is no longer where it was}."""
    gone = {row.fingerprint: row.slide_id for row in rows if row.fingerprint and kind_of(row.path) == "missing"}
    if not gone:
        return {}
    found = {}
    for source in new:
        try:
            content = fingerprint_of(source)
        except (EmbedStoreError, OSError):
            continue  # its planning says what is wrong
        if content in gone:
            found[source.slide_id] = gone[content]
    return found


def _renamed(ids: Mapping[str, str]) -> list[str]:
    if not ids:
        return []
    shown = first_few([f"{slide_id} is {known_id}" for slide_id, known_id in ids.items()])
    return [f"{len(ids):,} slide(s) are in the store under other ids, which they keep: {shown}"]


def _overlaps(new: Sequence[SlideSource], rows: Sequence[SlideRow]) -> list[str]:
    """Warnings of tile folders that lie in one of the store, or hold one."""
    real_path = real_paths()
    stored = {real_path(row.path): f"{row.slide_id} (in the store)" for row in rows if row.is_ready_made}
    given = {real_path(source.path): source.slide_id for source in new if source.kind == "tiles"}
    pairs = [*nested_folders(given, stored), *nested_folders(stored, given)]
    return [f"tile folders overlap, and their tiles will be in the store twice: {first_few(pairs)}"] if pairs else []
