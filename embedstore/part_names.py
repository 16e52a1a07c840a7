"""The parts of a split by the names that people and tools give them."""

import re
from typing import Literal

Part = Literal["train", "valid", "test"]
#: Common names, as `re.sub("[^a-z]", "", name.lower())` leaves them.
_SPELLINGS: dict[str, Part] = {
    **dict.fromkeys(("train", "training", "trn", "tr"), "train"),
    **dict.fromkeys(("valid", "validation", "val", "validate", "dev", "tune", "tuning"), "valid"),
    **dict.fromkeys(("test", "testing", "tst", "te", "eval", "heldout", "holdout"), "test"),
}


def part_called(name: str) -> Part | None:
    """The part with a common name ('Training', 'val', 'dev', 'held-out'); None for any other word."""
    return _SPELLINGS.get(re.sub("[^a-z]", "", name.lower()))
