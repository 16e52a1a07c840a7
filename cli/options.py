"""Options that several commands share, and how tables and JSON are printed."""

import datetime as dt
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from embedstore.errors import shown_on_a_line

if TYPE_CHECKING:
    from PIL import Image

    from embedstore.result_table import NotedTable

store_option = click.option(
    "--store",
    "-s",
    required=True,
    metavar="PATH|URI",
    help="The store: a directory, or a URI such as s3://bucket/store.",
)
collection_option = click.option(
    "--collection", "-c", metavar="NAME", help="The collection; may be left out where there is only one."
)
where_option = click.option(
    "--where", metavar="SQL", help="Only slides whose row satisfies this, such as \"cohort = 'A'\"."
)
slides_option = click.option("--slide", "slides", multiple=True, metavar="ID", help="Only this slide; repeatable.")
config_option = click.option(
    "--config",
    "config_file",
    type=click.Path(exists=True, dir_okay=False),
    metavar="TOML",
    help="A TOML file of settings, also those that have no flag; flags win over it.",
)
#: Where coordinates of GeoJSON that is written begin.
origin_option = click.option(
    "--origin",
    type=click.Choice(["bounds", "level0"]),
    default="bounds",
    show_default=True,
    help="GeoJSON: coordinates from the corner of the slide's image, as QuPath shows it, or of level 0.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


class TileId(click.ParamType[int]):
    """A tile's id. Half of them begin with a minus sign, so a command that takes one must ignore unknown options
    (`ignore_unknown_options`); a mistyped option then arrives here and is reported as one."""

    name = "tile"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            return int(value)
        except ValueError:
            if str(value).startswith("-"):
                import difflib

                options = [name for param in ctx.command.params for name in param.opts if name[0] == "-"] if ctx else []
                close = difflib.get_close_matches(value, options)
                raise click.NoSuchOption(value, possibilities=close, ctx=ctx) from None
            self.fail(f"{value!r} is not a tile id; `embedstore ls --tiles N` lists them", param, ctx)


def class_map_of(renames: Sequence[str]) -> dict[str, str]:
    """New names of classes by their old ones, from the OLD=NEW of --class-map."""
    class_map: dict[str, str] = {}
    for pair in renames:
        old, equals, new = pair.rpartition("=")
        if not (old and equals and new):
            raise click.BadParameter(f"{pair!r}; expected OLD=NEW", param_hint="--class-map")
        if class_map.setdefault(old, new) != new:
            raise click.BadParameter(f"{old!r} is renamed twice", param_hint="--class-map")
    return class_map


def confirm(question: str) -> None:
    """Ask before something is removed; the answer no ends the command with exit code 1.

    Raises:
        UsageError: there is nobody to answer.
    """
    try:
        agreed = click.confirm(question, err=True)
    except click.Abort:
        if sys.stdin is not None and sys.stdin.isatty():
            raise
        click.echo(err=True)  # the line of the question ends
        raise click.UsageError("nobody is there to answer the question; add --yes") from None
    if not agreed:
        click.echo("nothing was removed", err=True)
        sys.exit(1)


def print_json(value: Any) -> None:
    click.echo(_as_json(value))


def write_json(value: Any, path: Path) -> None:
    """Write what `print_json` prints to a file, whole or not at all."""
    from embedstore.output_files import atomic_write

    with atomic_write(path) as part:
        part.write_text(_as_json(value) + "\n", encoding="utf-8")


def _as_json(value: Any) -> str:
    import json

    return json.dumps(value, indent=2, ensure_ascii=False, default=_plain)


def print_notes(notes: Iterable[str]) -> None:
    """What the user should know about a result, on stderr."""
    for note in notes:
        click.echo(f"note: {shown_on_a_line(note)}", err=True)


def _plain(value: Any) -> Any:
    if isinstance(value, dt.datetime):
        return value.isoformat()
    if hasattr(value, "tolist"):
        return value.tolist()
    return str(value)


def save_picture(picture: "Image.Image", path: str | Path) -> None:
    """Write a picture in the format of its file's ending, whole or not at all; `require_picture` has checked it."""
    from embedstore.output_files import atomic_write

    with atomic_write(path) as part:
        picture.save(part)


def print_found(found: "NotedTable", *, collection: str, as_json: bool) -> None:
    """Tiles with their notes: a line each, without the columns that have no value."""
    if as_json:
        print_json({"collection": collection, "title": found.title, "notes": found.notes, "tiles": found.to_pylist()})
        return
    click.echo(f"{len(found):,} {found.title}", err=True)
    rows = found.to_pylist()
    names = [name for name in found.column_names if any(row[name] is not None for row in rows)]
    if rows:
        print_table([[row[name] for name in names] for row in rows], names)
    print_notes(found.notes)


def print_off_map(collection: str, slides: int) -> None:
    """Say that slides of a collection are not on its map."""
    lacking = f"{slides:,} slide(s) of {collection} are not on its map"
    click.echo(f"{lacking}; `embedstore map --collection {collection}` places them", err=True)


def print_facts(*facts: tuple[str, object]) -> None:
    """A line of a card for each (name, value)."""
    for name, value in facts:
        click.echo(f"{name:<10} {value}")


def print_table(rows: Sequence[Sequence[Any]], header: Sequence[str]) -> None:
    """Columns padded to their widest cell; numbers to the right."""
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max(len(text) for text in column) for column in zip(header, *cells, strict=True)]
    numeric = [all(isinstance(row[i], (int, float)) or row[i] is None for row in rows) for i in range(len(header))]

    def line(texts: Sequence[str]) -> str:
        padded = [t.rjust(w) if right else t.ljust(w) for t, w, right in zip(texts, widths, numeric, strict=True)]
        return "  ".join(padded).rstrip()

    click.echo(line(header))
    for row in cells:
        click.echo(line(row))


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    return shown_on_a_line(str(value))
