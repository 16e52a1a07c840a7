"""Names of classes and tasks that people may mean as one."""

import re
import unicodedata
from collections.abc import Collection, Iterable
from difflib import get_close_matches

#: From which share of equal letters on two names may be one that was misspelt: tumor and tumour, not tumour and stroma.
ALMOST = 0.85


def alike_note(names: Iterable[str]) -> tuple[str, ...]:
    """A warning about classes that differ only in capitals, space or '_', or as numbers (0 and 0.0); () without any."""
    alike: dict[str | float, list[str]] = {}
    for name in sorted(set(names)):
        alike.setdefault(_meaning(name), []).append(name)
    groups = [" and ".join(map(repr, group)) for group in alike.values() if len(group) > 1]
    if not groups:
        return ()
    return (f"these count as different classes: {', '.join(groups)}; `label import --class-map OLD=NEW` renames one",)


def new_task_note(task: str, tasks: Collection[str]) -> tuple[str, ...]:
    """A warning about a task that is new and called almost like another; () where it is not.

    Args:
        tasks: Those that had labels before.
    """
    near = None if task in tasks else next(iter(get_close_matches(task.casefold(), tasks, 1, ALMOST)), None)
    return () if near is None else (f"{task!r} is a new task, beside {near!r}; `label undo` takes its labels back",)


def _meaning(name: str) -> str | float:
    try:
        return float(name)
    except ValueError:
        return re.sub(r"[\s_-]+", " ", unicodedata.normalize("NFKC", name).strip().casefold())
