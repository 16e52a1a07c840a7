"""Flags that follow from settings classes: type, help text and default are those of the dataclass field."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, NamedTuple, TypeVar, Union, get_args, get_origin

import click

F = TypeVar("F", bound=Callable[..., Any])


class CommaList(click.ParamType):
    """Several values in one option: 1e-4,1e-3."""

    name = "A,B,…"

    def __init__(self, kind: Callable[[str], Any]):
        self.kind = kind

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[Any, ...]:
        if isinstance(value, tuple):
            return value
        try:
            return tuple(self.kind(part.strip()) for part in value.split(",") if part.strip())
        except ValueError:
            self.fail(f"{value!r}; expected numbers separated by commas", param, ctx)


class Flag(NamedTuple):
    """The flag that sets a field, with what differs from the field itself.

    Attributes:
        field: Name of the field.
        name: The flag; `--field-name` when None. That of a bool switches the field to what is not its default.
        help: Help text; the field's when None.
        default: The default as the help shows it; the field's when None.
        metavar: Placeholder of the value.
        type: click's type; that of the field's annotation when None.
    """

    field: str
    name: str | None = None
    help: str | None = None
    default: str | None = None
    metavar: str | None = None
    type: click.ParamType | None = None

    @property
    def option(self) -> str:
        return self.name or f"--{self.field.replace('_', '-')}"

    @property
    def parameter(self) -> str:
        """The name under which click hands on the value."""
        return self.option.lstrip("-").replace("-", "_")


class Section:
    """A settings class, the table of a TOML file that sets its fields, and the flags that set some of them too.

    As a decorator it adds the flags to a command, in their order.
    """

    def __init__(self, table: str, config: type, *flags: Flag | str):
        self.table = table
        self.config = config
        self.flags = [Flag(flag) if isinstance(flag, str) else flag for flag in flags]
        self._defaults = {field.name: field.default for field in fields(config)}
        self._types = {field.name: field.type for field in fields(config)}

    def __call__(self, command: F) -> F:
        for flag in reversed(self.flags):
            command = self._option(flag)(command)
        return command

    def given(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The fields that were set by flags, from the parameters of a click command."""
        values: dict[str, Any] = {}
        for flag in self.flags:
            value = options.get(flag.parameter)
            if value is True:
                value = not self._defaults[flag.field]
            elif value is None or value is False:
                continue
            values[flag.field] = value
        return values

    def merged(self, tables: Sequence[Mapping[str, Any]], options: Mapping[str, Any]) -> dict[str, Any]:
        """The fields that were set: by the one table that a file may have, and over it by flags."""
        return {**(tables[0] if tables else {}), **self.given(options)}

    def build(
        self,
        tables: Sequence[Mapping[str, Any]],
        options: Mapping[str, Any],
        make: Callable[..., Any] | None = None,
        **others: Any,
    ) -> Any:
        """The configuration, from the fields that were set and `others`.

        Raises:
            ConfigError: a value is not valid; the message names the file and the table where it comes from there.
        """
        from embedstore.toml_tables import errors_name_table

        of_file = {*(tables[0] if tables else ())} - {*self.given(options)}
        with errors_name_table(options.get("config_file"), self.table, of_file):
            return (make or self.config)(**self.merged(tables, options), **others)

    def help(self, flag: Flag) -> str:
        """Help text of a flag, with its default at the end."""
        text, unset = field_help(self.config)[flag.field]
        default = flag.default or unset or shown_default(self._defaults[flag.field])
        return f"{flag.help or text}  [default: {default}]" if default else flag.help or text

    def _option(self, flag: Flag) -> Callable[[F], F]:
        kind = flag.type or _click_type(self._types[flag.field])
        kwargs: dict[str, Any] = {"is_flag": True} if kind is bool else {"type": kind}
        return click.option(
            flag.option, flag.parameter, default=None, metavar=flag.metavar, help=self.help(flag), **kwargs
        )


@cache
def field_help(config: type) -> dict[str, tuple[str, str | None]]:
    """For each field its text under `Attributes:`, and X where the text ends with "; X when None."."""
    lines = (config.__doc__ or "").partition("Attributes:\n")[2].splitlines()
    indent = len(lines[0]) - len(lines[0].lstrip()) if lines else 0
    names, texts = "", dict[str, list[str]]()
    for line in lines:
        if line[indent : indent + 1].strip():  # a field's first line; the lines that continue it are indented further
            names, _, line = line.strip().partition(": ")
        texts.setdefault(names, []).append(line.strip())
    split = {names: _without_default(" ".join(parts).strip()) for names, parts in texts.items()}
    return {name: parts for names, parts in split.items() for name in names.split(", ")}


def _without_default(text: str) -> tuple[str, str | None]:
    if not text.endswith(" when None."):
        return text, None
    text, _, default = text.removesuffix(" when None.").rpartition("; ")
    return f"{text}.", default


def shown_default(value: Any) -> str | None:
    """A default as the help shows it; None for one that need not be shown."""
    if value is None or isinstance(value, bool) or value == ():
        return None
    if isinstance(value, tuple):
        return ",".join(str(shown_default(part)) for part in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _click_type(annotation: Any) -> Any:
    """The type of an option for a field: `Literal` is a choice, a tuple a list with commas; None is left out."""
    kinds = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    (kind,) = (kind for kind in kinds if kind is not NoneType)
    if get_origin(kind) is Literal:
        return click.Choice(get_args(kind))
    return CommaList(get_args(kind)[0]) if get_origin(kind) is tuple else kind
