"""Slides that a store knows already, recognised by their files under whatever ids they are given."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import replace
from pathlib import Path

from embedstore.errors import EmbedStoreError
from embedstore.quantities import first_few
from embedstore.slides import FoundSlides, SlideSource, fingerprint_of, kind_of, nested_folders, real_paths
from embedstore.store import SlideRow, Store
from embedstore.uris import is_uri


def recognise(found: FoundSlides, store: Store) -> tuple[FoundSlides, dict[str, str]]:
    """The slides under the ids that a store knows them by, and {id that was given: id of the store} of the others.

    A slide is known by its file: by its path, without links, or, where the file that the store knows is gone, by its
    fingerprint. A copy beside the file is a slide of its own.
    """
    rows = store.ledger.slides()
    stored = {row.slide_id for row in rows}
    new = [source for source in found.sources if source.slide_id not in stored]
    taken = {source.slide_id for source in found.sources}
    ids: dict[str, str] = {}
    missing = [row for row in rows if row.slide_id not in taken]
    candidates = _by_path(new, rows) | _moved(new, missing) if new else {}
    for slide_id, known_id in candidates.items():
        if known_id not in taken:  # otherwise another file was given that has its id
            ids[slide_id] = known_id
            taken.add(known_id)
    sources = [replace(source, slide_id=ids.get(source.slide_id, source.slide_id)) for source in found.sources]
    unknown = [source for source in new if source.slide_id not in ids]
    summary = replace(
        found.summary,
        notes=(*found.summary.notes, *_renamed(ids)),
        warnings=(
            *found.summary.warnings,
            *_other_patients(sources, rows),
            *_copies(found.sources, {source.slide_id for source in unknown}),
            *_overlaps(unknown, rows),
        ),
    )
    return FoundSlides(sources=tuple(sorted(sources, key=lambda source: source.slide_id)), summary=summary), ids


def _by_path(new: Sequence[SlideSource], rows: Sequence[SlideRow]) -> dict[str, str]:
    """{id that is new: id that the store has for its path}."""
    real_path = real_paths()
    known = {real_path(row.path): row.slide_id for row in rows if row.path}
    return {source.slide_id: known[path] for source in new if (path := real_path(source.path)) in known}


def _moved(new: Sequence[SlideSource], rows: Sequence[SlideRow]) -> dict[str, str]:
    """{id that is new: id of a slide of the same content, whose file is no longer where it was}."""
    gone = {row.fingerprint: row.slide_id for row in rows if row.fingerprint and _is_gone(row.path)}
    local = [source for source in new if not is_uri(source.path)]  # others would have to be fetched
    contents = {source.slide_id: _content(source) for source in local} if gone else {}
    return {slide_id: gone[content] for slide_id, content in contents.items() if content in gone}


def _is_gone(path: str) -> bool:
    """Whether a file is not where it was; of an object store that is not asked."""
    return not is_uri(path) and kind_of(path) == "missing"


def _renamed(ids: Mapping[str, str]) -> list[str]:
    if not ids:
        return []
    shown = first_few([f"{slide_id} is {known_id}" for slide_id, known_id in ids.items()])
    return [f"{len(ids):,} slide(s) are in the store under other ids, which they keep: {shown}"]


def _other_patients(sources: Sequence[SlideSource], rows: Sequence[SlideRow]) -> list[str]:
    """A warning of slides that a list gives another patient than the store has, which changes splits."""
    stored = {row.slide_id: row.patient for row in rows if row.patient is not None}
    changes = []
    for source in sources:
        before, patient = stored.get(source.slide_id), source.metadata.get("patient")
        if before is not None and patient is not None and before != str(patient):
            changes.append(f"{source.slide_id}: {before} becomes {patient}")
    if not changes:
        return []
    return [f"{len(changes):,} slide(s) get another patient than the store has: {first_few(changes)}"]


def _copies(sources: Sequence[SlideSource], new: Set[str]) -> list[str]:
    """A warning of files with the content of another, where one of them is new; only files of one size are read."""
    if not new:
        return []
    by_size: dict[int, list[SlideSource]] = {}
    for source in sources:
        if source.kind == "wsi" and (size := _file_bytes(source.path)):
            by_size.setdefault(size, []).append(source)
    originals: dict[str | None, str] = {}
    copies = []
    alike = [same for same in by_size.values() if len(same) > 1 and any(each.slide_id in new for each in same)]
    for source in (source for same in alike for source in same):
        original = originals.setdefault(content := _content(source), source.slide_id)
        if content is not None and original != source.slide_id:
            copies.append(f"{source.slide_id} of {original}")
    return [f"{len(copies):,} slide(s) are copies of others: {first_few(copies)}"] if copies else []


def _file_bytes(path: str) -> int:
    try:
        return Path(path).stat().st_size if kind_of(path) == "file" else 0
    except OSError:
        return 0


def _content(source: SlideSource) -> str | None:
    """The fingerprint of a slide; None where it cannot be read, of which its planning says why."""
    try:
        return fingerprint_of(source)
    except (EmbedStoreError, OSError):
        return None


def _overlaps(new: Sequence[SlideSource], rows: Sequence[SlideRow]) -> list[str]:
    """Warnings of tile folders that lie in one of the store, or hold one."""
    real_path = real_paths()
    stored = {real_path(row.path): f"{row.slide_id} (in the store)" for row in rows if row.is_ready_made}
    given = {real_path(source.path): source.slide_id for source in new if source.kind == "tiles"}
    pairs = [*nested_folders(given, stored), *nested_folders(stored, given)]
    return [f"tile folders overlap, and their tiles will be in the store twice: {first_few(pairs)}"] if pairs else []
