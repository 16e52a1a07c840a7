"""Tables of a TOML file: what is read, and what is refused with file, table and field."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from embedstore.errors import ConfigError
from embedstore.toml_tables import fields_of, read_tables


@dataclass(frozen=True, kw_only=True)
class Brush:
    width: float = 1.0
    strokes: int | None = None
    kind: Literal["round", "flat"] | None = "round"
    wet: bool = False
    mixes: tuple[float, ...] = ()
    extra: Mapping[str, Any] | None = None
    paint: str = ""


@dataclass(frozen=True, kw_only=True)
class Picture:
    name: str = ""
    brush: tuple[Brush, ...] = ()


FIELDS = fields_of({"picture": Picture, "brush": Brush})


def read(folder: Path, text: str):
    path = folder / "picture.toml"
    path.write_text(text)
    return read_tables(path, FIELDS, repeated=["brush"])


def test_values_of_every_type_are_read(tmp_path: Path):
    text = '[picture]\nname = "a"\n[[brush]]\nwidth = 2\nstrokes = 3\nkind = "flat"\nwet = true\nmixes = [1, 0.5]\n'
    tables = read(tmp_path, text + 'extra = {hair = "hog"}\npaint = "oil"\n[[brush]]\n')
    assert tables["picture"] == [{"name": "a"}]
    first = {"width": 2, "strokes": 3, "kind": "flat", "wet": True, "mixes": (1, 0.5), "extra": {"hair": "hog"}}
    assert tables["brush"] == [{**first, "paint": "oil"}, {}]


def test_no_file_has_no_table():
    assert read_tables(None, FIELDS) == {"picture": [], "brush": []}


def test_fields_that_are_tables_are_left_out():
    assert "brush" not in FIELDS["picture"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[brush\n", "picture.toml is not TOML"),
        ("[brus]\n", r"picture.toml has 'brus'; expected the tables \[picture\], \[\[brush\]\]; did you mean brush\?"),
        ("[[picture]]\n", r"picture.toml: picture is the tables \[\[picture\]\]; expected a table, \[picture\]"),
        ("picture = 'a'\n", r"picture.toml: picture is the value 'a'; expected a table, \[picture\]"),
        ("brush = ['a']\n", r"picture.toml: brush is the value \['a'\]; expected a table, \[\[brush\]\]"),
        ("a = " + "[" * 9999, "picture.toml is not TOML: its lists are nested too deeply"),
        (
            "a = 1" + " " * (1 << 20),
            "picture.toml cannot be read: it has more than 1,048,576 bytes; expected a TOML file",
        ),
        ("[brush]\nstroke = 1\n", r"\[brush\] has stroke; expected some of .*; did you mean strokes\?"),
        ("[brush]\nlength = 1\n", r"picture.toml: \[brush\] has length; expected some of extra, kind"),
        ('[brush]\nwidth = "thin"\n', r"picture.toml: \[brush\] width is 'thin'; expected a number"),
        ("[brush]\nwidth = true\n", r"\[brush\] width is True; expected a number"),
        ("[brush]\nwidth = nan\n", r"\[brush\] width is nan; expected a number"),
        ("[brush]\nwidth = 2026-01-02\n", r"\[brush\] width is 2026-01-02; expected a number"),
        ("[brush]\nstrokes = 2.0\n", r"\[brush\] strokes is 2.0; expected a whole number"),
        (f"[brush]\nstrokes = {1 << 63}\n", r"\[brush\] strokes is 9223372036854775808; expected a whole number"),
        (
            f"[brush]\nstrokes = 0x{'f' * 9999}\n",
            r"\[brush\] strokes is a number of thousands of digits; expected a whole",
        ),
        ("[brush]\nstrokes = 1.5\n", r"\[brush\] strokes is 1.5; expected a whole number"),
        ('[brush]\nkind = "oval"\n', r"\[brush\] kind is 'oval'; expected one of round, flat"),
        ('[brush]\nwet = "no"\n', r"\[brush\] wet is 'no'; expected true or false"),
        ("[brush]\nwet = 1\n", r"\[brush\] wet is 1; expected true or false"),
        ("[brush]\nmixes = 1.0\n", r"\[brush\] mixes is 1.0; expected a list, each a number"),
        ('[brush]\nmixes = ["a"]\n', r"\[brush\] mixes is \['a'\]; expected a list, each a number"),
        ('[brush]\nmixes = "1,2"\n', r"\[brush\] mixes is '1,2'; expected a list, each a number"),
        ("[brush]\nextra = 1\n", r"\[brush\] extra is 1; expected a table"),
        ("[brush]\nextra = {at = 12:00:00}\n", r"\[brush\] extra is .*; expected a table of strings, numbers"),
        ('[brush]\npaint = "a\\u0000b"\n', r"\[brush\] paint is 'a\\x00b'; expected a string without NUL"),
        ("[[brush]]\n[[brush]]\npaint = 1\n", r"\[brush\] paint is 1; expected a string"),
    ],
)
def test_errors_name_file_table_and_field(tmp_path: Path, text: str, message: str):
    with pytest.raises(ConfigError, match=message):
        read(tmp_path, text)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be-with-mark", "utf-32"])
def test_text_is_read_as_its_byte_order_mark_says(tmp_path: Path, encoding: str):
    path, text = tmp_path / "picture.toml", '[picture]\r\nname = "ä"\r\n'
    path.write_bytes(
        "\ufeff".encode("utf-16-be") + text.encode("utf-16-be") if "mark" in encoding else text.encode(encoding)
    )
    assert read_tables(path, FIELDS)["picture"] == [{"name": "ä"}]


def test_what_is_no_text_file_is_refused_at_once(tmp_path: Path):
    latin, pipe = tmp_path / "latin.toml", tmp_path / "pipe"
    latin.write_bytes(b'[picture]\nname = "\xe4"')
    os.mkfifo(pipe)
    for path, message in [
        (latin, "is no text: invalid continuation byte at byte 18; save it as UTF-8"),
        (pipe, "cannot be read: it is a device or pipe, not a file; expected a TOML file"),
        (tmp_path, "cannot be read: it is a folder; expected a TOML file"),
        (tmp_path / "none.toml", "cannot be read: No such file"),
    ]:
        with pytest.raises(ConfigError, match=message):
            read_tables(path, FIELDS)
