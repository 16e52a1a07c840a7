"""Finds thousands of names in a text at once."""

import bisect
import re
from collections.abc import Mapping

#: Shorter names, and numbers, are words of many texts: they count in quotes only, and after `slide` or `patient`.
SHORT = 4
#: Where a name may begin: not inside of a word.
_START = re.compile(r"(?<!\w)\S")
_INTRODUCED = re.compile(r"(?:['\"]|\bslides? |\bpatients? )$")


class NameFinder:
    """Replaces names in texts.

    The greatest name that is not greater than the rest of a text either begins it, or begins with every name that
    does: a look-up in a sorted list for each word, and not a comparison with each name.

    Args:
        names: {name: what stands for it}.
    """

    def __init__(self, names: Mapping[str, str]):
        self._stands_for = names
        self._names = sorted(filter(None, names))
        self._shorter: list[int] = []  # of each name, the longest other one that it begins with; -1 for none
        for position, name in enumerate(self._names):
            before = position - 1
            while before >= 0 and not name.startswith(self._names[before]):
                before = self._shorter[before]
            self._shorter.append(before)

    def replaced(self, text: str, known: str = "") -> str:
        """A text with every name replaced, the longest where several begin at one place.

        Args:
            known: What the reader has written. Names in it stay as they are: if they were replaced, whoever writes a
                name would learn whether there is one, and what stands for it.
        """
        parts, end = [], 0
        for found in _START.finditer(text):
            start = found.start()
            if start >= end and (name := self._name_at(text, start)) is not None:
                parts += [text[end:start], name if name in known else self._stands_for[name]]
                end = start + len(name)
        return "".join([*parts, text[end:]])

    def _name_at(self, text: str, start: int) -> str | None:
        at = bisect.bisect_right(self._names, text[start:]) - 1
        while at >= 0:
            name = self._names[at]
            if text.startswith(name, start) and _stands_alone(text, start, name):
                return name
            at = self._shorter[at]
        return None


def _stands_alone(text: str, start: int, name: str) -> bool:
    """Whether a name is not a part of a word, nor only a word that happens to be a name."""
    after = text[start + len(name) : start + len(name) + 1]
    if after and (after.isalnum() or after == "_"):
        return False
    return (len(name) >= SHORT and not name.isdigit()) or _INTRODUCED.search(text[:start]) is not None
