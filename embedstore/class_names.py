"""Names of classes that people may mean as one."""

import re
import unicodedata
from collections.abc import Iterable


def alike_note(names: Iterable[str]) -> tuple[str, ...]:
    """A warning about classes that differ only in capitals, space or '_', or as numbers (0 and 0.0); () without any."""
    alike: dict[str | float, list[str]] = {}
    for name in sorted(set(names)):
        alike.setdefault(_meaning(name), []).append(name)
    groups = [" and ".join(map(repr, group)) for group in alike.values() if len(group) > 1]
    if not groups:
        return ()
    return (f"these count as different classes: {', '.join(groups)}; `label import --class-map OLD=NEW` renames one",)


def _meaning(name: str) -> str | float:
    try:
        return float(name)
    except ValueError:
        return re.sub(r"[\s_-]+", " ", unicodedata.normalize("NFKC", name).strip().casefold())
