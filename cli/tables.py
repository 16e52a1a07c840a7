"""Flags over the tables of a TOML file: defaults < file < flags."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from embedstore.toml_tables import Table

if TYPE_CHECKING:
    from embedstore.config import JoinConfig
    from heads.config import SplitConfig

#: Flags that set a field of the split or the join, where its name is not the field's.
_SPLIT = {"split": "kind", "folds": "folds", "split_column": "column", "split_file": "file", "group_by": "group_by"}
_JOIN = {"rule": "rule", "min_overlap": "min_overlap"}


def merged(tables: list[Table], options: Mapping[str, Any], flags: Mapping[str, str]) -> Table:
    """The one table there may be, with the fields that flags set; those that were not given set none."""
    own = tables[0] if tables else {}
    return own | {field: options[flag] for flag, field in flags.items() if options.get(flag) is not None}


def split_and_join(tables: Mapping[str, list[Table]], options: Mapping[str, Any]) -> "tuple[SplitConfig, JoinConfig]":
    """How patients are parted, by [split] and its flags, and tiles meet areas, by [join] and its.

    A column or a file says the kind of split.
    """
    from embedstore.config import JoinConfig
    from heads.config import SplitConfig

    split = merged(tables["split"], options, _SPLIT)
    if implied := [kind for kind in ("column", "file") if kind in split]:
        split.setdefault("kind", implied[0])
    return SplitConfig(**split), JoinConfig(**merged(tables["join"], options, _JOIN))
