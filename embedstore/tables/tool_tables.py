"""Tables of labels and splits of other tools: recognised by their columns, and read under our names."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from embedstore.tables.user_table import UserTable

#: The file beside a split of Patho-Bench that names its column of labels and its classes.
CONFIG_NAME = "config.yaml"
_FOLD = re.compile(r"fold_(\d+)", re.IGNORECASE)
_LARGEST_CONFIG = 1 << 20
_PATHOROB = ("slide_id", "patch_id", "biological_class", "medical_center")
_EVA = ("embeddings", "target", "split")


@dataclass(frozen=True, kw_only=True)
class ToolTable:
    """How a table of another tool is read.

    Attributes:
        tool: Its name.
        columns: {our column: theirs}.
        classes: Names of classes that the table has numbers of.
        folds: Columns of a split of several folds, in their order.
    """

    tool: str
    columns: Mapping[str, str]
    classes: Mapping[str, str] = field(default_factory=dict)
    folds: tuple[str, ...] = ()


def tool_table(table: UserTable, *, task: str | None = None) -> ToolTable | None:
    """The tool that a table is of; None where it is of none.

    Patho-Bench: `case_id`, `slide_id`, a column of labels, and `fold_0` … of train, val and test. PathoROB: `slide_id`,
    `patch_id`, `biological_class`, `medical_center`. eva: `embeddings`, `target`, `split`, and `wsi_id` of tiles.

    Args:
        task: The task whose labels are read, which may be the name of Patho-Bench's column; None for its folds alone.
    Raises:
        EmbedStoreError: of the table's kind, where the column of labels is not clear or its configuration is none.
    """
    has = {name: table.find(name) for name in (*_PATHOROB, *_EVA, "case_id", "wsi_id", "origin")}
    folds = sorted((name for name in table.names if _FOLD.fullmatch(name)), key=lambda name: int(name.split("_")[1]))
    if has["case_id"] and has["slide_id"] and folds:
        return _patho_bench(table, has["case_id"], has["slide_id"], tuple(folds), task)
    if all(has[name] for name in _PATHOROB):
        columns = {"slide_id": "slide_id", "name": "patch_id", "label": "biological_class"}
        return ToolTable(tool="PathoROB", columns={ours: has[theirs] or "" for ours, theirs in columns.items()})
    if all(has[name] for name in _EVA):
        label = "label" if table.find("label") else "target"  # a number, which an export of ours names beside it
        about = {"slide_id": "wsi_id"} if has["wsi_id"] else {"name": "origin"}
        found = {ours: table.find(theirs) for ours, theirs in {"label": label, "split": "split", **about}.items()}
        return ToolTable(tool="eva", columns={ours: name for ours, name in found.items() if name})
    return None


def _patho_bench(table: UserTable, case: str, slide: str, folds: tuple[str, ...], task: str | None) -> ToolTable:
    columns = {"slide_id": slide, "patient": case, **({"split": folds[0]} if len(folds) == 1 else {})}
    if task is None:
        return ToolTable(tool="Patho-Bench", columns=columns, folds=folds)
    config = _config(table)
    others = [name for name in table.names if name not in (case, slide, *folds)]
    named = config.get("task_col")
    label = next((name for name in (named, task) if name in others), others[0] if len(others) == 1 else None)
    if label is None:
        found = f"{CONFIG_NAME} beside it names {named!r}, and it has" if named else "it has"
        raise table.error(
            f"a split of Patho-Bench whose column of labels is not clear: {found} {', '.join(others) or 'none'}; name "
            "the task as one of these columns, and rename it after"
        )
    names = config.get("label_dict")
    names = names if isinstance(names, dict) else {}
    numbered = {str(key): str(value) for key, value in names.items()} if all(map(_is_whole, names)) else {}
    return ToolTable(tool="Patho-Bench", columns={**columns, "label": label}, classes=numbered, folds=folds)


def _config(table: UserTable) -> dict[str, Any]:
    """What the configuration beside a split says; nothing where there is none."""
    path = Path(table.path).parent / CONFIG_NAME
    if not path.is_file():
        return {}
    import yaml

    try:
        if path.stat().st_size > _LARGEST_CONFIG:
            raise ValueError("it is too large for one")
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise table.error(
            f"{path}, beside it, is no configuration of Patho-Bench: {str(error).splitlines()[0]}"
        ) from error
    return found if isinstance(found, dict) else {}


def _is_whole(value: object) -> bool:
    return str(value).isdigit()
