"""Flags of settings classes: what they take, and what they hand on."""

from dataclasses import dataclass
from typing import Any, Literal

import click
import pytest
from click.testing import CliRunner

from cli.flags import CommaList, Flag, Section, field_help, shown_default


@dataclass(frozen=True, kw_only=True)
class Brush:
    """A brush.

    Attributes:
        width: How wide it is,
            millimetres.
        strokes: Number of strokes; as many as it takes when None.
        kind: Its shape.
        wet, clean: What it is like.
        mixes: Shares of colours.
    """

    width: float = 1.0
    strokes: int | None = None
    kind: Literal["round", "flat"] | None = "round"
    wet: bool = False
    clean: bool = True
    mixes: tuple[float, ...] = (0.5, 1e-3)


BRUSH = Section(
    "brush",
    Brush,
    "width",
    Flag("strokes", "--number", metavar="N"),
    "kind",
    "wet",
    Flag("clean", "--dirty", help="Do not clean it."),
    "mixes",
)


@click.command()
@BRUSH
def paint(**options: Any) -> None:
    click.echo(repr(BRUSH.given(options)))


def given(*flags: str) -> dict[str, Any]:
    result = CliRunner().invoke(paint, flags, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return eval(result.output)


def test_flags_that_are_not_given_set_nothing():
    assert given() == {}


@pytest.mark.parametrize(
    ("flags", "fields"),
    [
        (["--width", "0"], {"width": 0.0}),
        (["--number", "3"], {"strokes": 3}),
        (["--kind", "flat"], {"kind": "flat"}),
        (["--wet"], {"wet": True}),
        (["--dirty"], {"clean": False}),
        (["--mixes", "1, 0.25,"], {"mixes": (1.0, 0.25)}),
    ],
)
def test_each_flag_sets_its_field(flags: list[str], fields: dict[str, Any]):
    assert given(*flags) == fields
    assert BRUSH.merged([], {}) == {}


def test_flags_win_over_the_table():
    table = {"width": 2.0, "wet": True}
    assert BRUSH.merged([table], {"width": 3.0, "wet": None}) == {"width": 3.0, "wet": True}
    assert table["width"] == 2.0


@pytest.mark.parametrize("flags", [["--width", "wide"], ["--kind", "oval"], ["--mixes", "a,b"], ["--strokes", "3"]])
def test_wrong_values_are_wrong_usage(flags: list[str]):
    assert CliRunner().invoke(paint, flags).exit_code == 2


def test_help_is_that_of_the_fields():
    lines = CliRunner().invoke(paint, ["--help"], terminal_width=200).output.splitlines()
    shown = {line.split()[0]: " ".join(line.split()[1:]) for line in lines if line.startswith("  --")}
    assert shown == {
        "--width": "FLOAT How wide it is, millimetres. [default: 1]",
        "--number": "N Number of strokes. [default: as many as it takes]",
        "--kind": "[round|flat] Its shape. [default: round]",
        "--wet": "What it is like.",
        "--dirty": "Do not clean it.",
        "--mixes": "A,B,… Shares of colours. [default: 0.5,0.001]",
        "--help": "Show this message and exit.",
    }


def test_docstrings_are_read_with_and_without_their_indentation():
    @dataclass(frozen=True, kw_only=True)
    class Flat:
        width: float = 1.0

    Flat.__doc__ = "A brush.\n\nAttributes:\n    width: How wide\n        it is.\n"  # as Python 3.13 keeps it
    assert field_help(Flat) == {"width": ("How wide it is.", None)}


@pytest.mark.parametrize(
    ("value", "text"), [(None, None), (True, None), ((), None), (2.0, "2"), ((1, 5), "1,5"), ("auto", "auto"), (0, "0")]
)
def test_defaults_as_they_are_shown(value: Any, text: str | None):
    assert shown_default(value) == text


def test_a_list_of_names_keeps_their_order():
    assert CommaList(str).convert("b, a", None, None) == ("b", "a")
