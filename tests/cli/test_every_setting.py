"""Every field of a settings class can be set in the TOML file, and by its flag to the same value."""

from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

import click
import pytest

from cli import fit_augmenter, fit_head, fit_settings, ingest, ingest_settings, select_extractor, serve
from cli.flags import Flag, Section
from embedstore.config import TilingConfig

SLIDES = Path(__file__)  # a file that is there, for options that want one
#: Values of fields that need one of their own, and what has to be set with them.
VALUES: dict[tuple[str, str], Any] = {
    ("tiling", "min_tissue"): 0.25, ("views", "jpeg"): 90, ("split", "folds"): 4,
    ("fit", "level"): "patient", ("fit", "augmenter"): "mine",
    ("split", "kind"): "holdout", ("split", "file"): str(SLIDES), ("augment", "dropout"): 0.5,
    ("access", "trusted_proxy"): ("10.0.0.5", "10.1.0.0/16"), ("access", "trust_header"): "X-Remote-User",
    ("access", "allow_origin"): ("https://viewer.example",), ("access", "trust_roles"): {"ada": "fit"},
    ("access", "pseudonym_key"): SLIDES, ("access", "allow_host"): ("lab.example",), ("access", "show_columns"): ("a",),
    ("select", "rank_by"): "knn", ("augmenter", "heads"): 8, ("augmenter", "width"): 68,
}  # fmt: skip
WITH: dict[tuple[str, str], str] = {
    ("select", "encoder"): "level = 'slide'",
    ("fit", "level"): 'model = "abmil"\n',
    ("access", "trust_header"): 'trusted_proxy = ["unix"]\n',
    ("fit", "augmenter"): "[augment]\nlearned = 0.5\n",
}


def _ingest(options: dict[str, Any]) -> dict[str, Any]:
    settings = ingest_settings.resolve(options)
    return {**settings, "tiling": TilingConfig(**settings["tiling"])}


def _fit(options: dict[str, Any]) -> dict[str, Any]:
    config = fit_settings.resolve_fit(options)
    return {"fit": config, "split": config.split, "join": config.join, "augment": config.policies[0]}


def _select(options: dict[str, Any]) -> dict[str, Any]:
    config = select_extractor.resolve_select(options)[1]
    return {"select": config, "split": config.split, "join": config.join}


def _augmenter(options: dict[str, Any]) -> dict[str, Any]:
    return {"augmenter": fit_augmenter.resolve_augmenter(options)}


def _serve(options: dict[str, Any]) -> dict[str, Any]:
    config = serve.resolve(options)
    return {"service": config, "access": config.access}


VERBS: list[tuple[click.Command, list[str], Callable[[dict[str, Any]], dict[str, Any]], list[Section]]] = [
    (ingest.command, ["slides/", "-s", "store"], _ingest,
     [ingest_settings.TILING, ingest_settings.TISSUE, ingest_settings.READING, ingest_settings.VIEWS,
      ingest_settings.RUN]),
    (fit_head.command, ["-s", "store", "-t", "tumour"], _fit,
     [fit_settings.FIT, fit_settings.SPLIT, fit_settings.JOIN, fit_settings.AUGMENT]),
    (select_extractor.command, ["-s", "store", "-t", "tumour", "-e", "colour-12"], _select,
     [select_extractor.SELECT, fit_settings.SPLIT, Section("join", fit_settings.JoinConfig)]),
    (fit_augmenter.command, ["-s", "store"], _augmenter, [fit_augmenter.AUGMENTER]),
    (serve.command, ["-s", "store"], _serve, [serve.SERVICE, serve.ACCESS]),
]  # fmt: skip


def _settings() -> Iterator[Any]:
    for command, argv, resolve, sections in VERBS:
        tables = {section.table for section in sections}
        for section in sections:
            flags = {flag.field: flag for flag in section.flags}
            for field in fields(section.config):
                if field.name not in tables:
                    name = f"{command.callback.__module__}-{section.table}.{field.name}"
                    yield pytest.param(command, argv, resolve, section, field, flags.get(field.name), id=name)


def _another(section: Section, field: Any) -> Any:
    """A value that the field may have, other than its default."""
    if (section.table, field.name) in VALUES:
        return VALUES[section.table, field.name]
    parts = get_args(field.type) if get_origin(field.type) in (Union, UnionType) else (field.type,)
    (kind,) = (part for part in parts if part is not NoneType)
    if get_origin(kind) is Literal:
        return next(value for value in get_args(kind) if value != field.default)
    if get_origin(kind) is tuple:
        return (get_args(kind)[0](3),)
    if kind is bool:
        return not field.default
    if kind is str:
        return "site"
    return kind(field.default / 2 if kind is float and field.default else (field.default or 0) + 1)


def _toml(value: Any) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{name} = {_toml(each)}' for name, each in value.items())}}}"
    return str(value).lower() if isinstance(value, bool) else repr(str(value) if isinstance(value, Path) else value)


def _argv(flag: Flag, value: Any) -> list[str]:
    if isinstance(value, bool):
        return [flag.option]
    return [flag.option, ",".join(map(str, value)) if isinstance(value, tuple) else str(value)]


@pytest.mark.parametrize(("command", "argv", "resolve", "section", "field", "flag"), list(_settings()))
def test_file_and_flag_set_the_same_value(
    tmp_path: Path, command: Any, argv: list[str], resolve: Any, section: Section, field: Any, flag: Flag | None
):
    value, path = _another(section, field), tmp_path / "settings.toml"
    beside = WITH.get((section.table, field.name), "")

    def resolved(text: str, *more: str) -> Any:
        path.write_text(text)
        options = command.make_context("verb", [*argv, "--config", str(path), *more]).params
        return getattr(resolve(options)[section.table], field.name)

    assert resolved(f"[{section.table}]\n{field.name} = {_toml(value)}\n{beside}") == value != field.default
    if flag is not None:
        assert resolved(f"[{section.table}]\n{beside}", *_argv(flag, value)) == value
