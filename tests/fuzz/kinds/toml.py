"""TOML files of settings."""

import datetime as dt
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from tests.cli.test_every_setting import VERBS, _another
from tests.fuzz.kind import Kind
from tests.fuzz.mutations import changed_bytes, changed_tree

DATES = (dt.date(2026, 1, 2), dt.time(3, 4), dt.datetime(2026, 1, 2, 3, 4))
EXTRACTOR = {
    "ref": "resnet18", "collection": "c", "name": "mine", "weights": "random", "arch_args": {"depth": 2}, "tile_px": 64,
    "mpp": 0.5, "input_px": 64, "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "pooling": "cls", "precision": "fp16",
}  # fmt: skip


def _file(sections: list[Any]) -> dict[str, Any]:
    """Every field of the tables that a command reads, with a value that it may have."""
    tables: dict[str, Any] = {
        section.table: {
            name: _plain(value)
            for name, value in ((field.name, _another(section, field)) for field in _fields(section, sections))
        }
        for section in sections
    }
    return {**tables, "extractor": [EXTRACTOR]} if {"tiling", "select"} & {*tables} else tables


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    return list(value) if isinstance(value, tuple) else value


def _fields(section: Any, sections: list[Any]) -> list[Any]:
    from dataclasses import fields

    return [field for field in fields(section.config) if field.name not in {each.table for each in sections}]


def _toml(value: Any) -> str:
    """A value as TOML has it; what TOML lacks becomes a date."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Path):
        return _toml(str(value))
    if isinstance(value, str):
        return '"' + "".join(f"\\U{ord(letter):08x}" if ord(letter) in (*range(32), 34, 92, 127) else letter
                             for letter in value) + '"'  # fmt: skip
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_toml(str(name))} = {_toml(entry)}" for name, entry in value.items()) + "}"
    return str(value) if isinstance(value, int | float) else (value or DATES[0]).isoformat()


def _text(tree: Any) -> bytes:
    if not isinstance(tree, Mapping):
        return str(tree).encode("utf-8", "replace")
    lines = []
    for name, value in tree.items():
        for table in value if isinstance(value, list) and value and isinstance(value[0], dict) else [value]:
            if isinstance(table, Mapping):
                lines.append(f"[[{_toml(name)}]]" if isinstance(value, list) else f"[{_toml(name)}]")
                lines += [f"{_toml(field)} = {_toml(entry)}" for field, entry in table.items()]
            else:
                lines.insert(0, f"{_toml(name)} = {_toml(value)}")
    return "\n".join(lines).encode("utf-8", "surrogatepass")


@st.composite
def _few_fields(draw: st.DrawFn, full: dict[str, Any]) -> dict[str, Any]:
    """A file with some of the fields: one that fails hides the others."""
    chosen: dict[str, Any] = {}
    for _ in range(draw(st.integers(1, 3))):
        table = draw(st.sampled_from(sorted(full)))
        entries = full[table][0] if isinstance(full[table], list) else full[table]
        field = draw(st.sampled_from(sorted(entries)))
        chosen.setdefault(table, {"ref": "resnet18"} if table == "extractor" else {})[field] = entries[field]
    return chosen


def _reader(command: Any, argv: list[str], resolve: Any) -> Callable[[Path], Callable[[bytes], object]]:
    def reader(folder: Path) -> Callable[[bytes], object]:
        path = folder / "settings.toml"
        path.touch()
        options = command.make_context("verb", [*argv, "--config", str(path)]).params

        def read(data: bytes) -> object:
            path.write_bytes(data)
            return resolve(options)

        return read

    return reader


def _kind(command: Any, argv: list[str], resolve: Any, sections: list[Any]) -> Kind:
    full = _file(sections)
    files = changed_tree(_few_fields(full)).map(_text)
    return Kind(
        name=f"toml-{command.callback.__module__.removeprefix('cli.')}",
        inputs=st.one_of(files, files, changed_bytes(st.sampled_from([_text(full)]) | files)),
        reader=_reader(command, argv, resolve),
    )


KINDS = [_kind(*verb) for verb in VERBS]
