"""`embedstore extractors`."""

import dataclasses
from typing import TYPE_CHECKING, Any

import click

from cli.options import json_option, print_json, print_table
from embedstore.typed_values import close_names

if TYPE_CHECKING:
    from embedstore.extractors import CatalogueEntry


@click.command(epilog="Example:  embedstore extractors uni2-h")
@click.argument("name", required=False)
@json_option
def command(name: str | None, as_json: bool) -> None:
    """List the extractors that embedstore knows, or show everything about one.

    Beside these, ingest takes any timm name (resnet18, timm:convnext_tiny), networks with a text tower
    (open_clip:ViT-B-32/laion2b_s34b_b79k, transformers:ORG/NAME, or a folder), weights of your own (--weights FILE),
    and a function of your own (module:function, path/to/file.py:function, or an entry point in the group
    embedstore.extractors).

    \b
    tile px  edge of the tiles to cut             µm/px    resolution to cut them at
    dim      length of an embedding               gated    the weights take an account that was granted access
    words    has a text tower, so that tiles can be searched and classified by words
    """
    from embedstore.errors import UnknownExtractorError
    from embedstore.extractors import catalogue

    entries = catalogue()
    if name is None:
        if as_json:
            print_json([_record(entry) for entry in entries.values()])
        else:
            print_table([_row(entry) for entry in entries.values()], HEADER)
        return
    if name not in entries:
        raise UnknownExtractorError(
            f"the catalogue has no {name!r}{close_names(name, entries)}; `embedstore extractors` lists it"
        )
    record = _record(entries[name])
    if as_json:
        print_json(record)
    else:
        width = max(map(len, record))
        for field, value in record.items():
            click.echo(f"{field.ljust(width)}  {_text(value)}")


HEADER = ("name", "dim", "tile px", "µm/px", "pooling", "precision", "words", "gated", "licence", "source")


def _row(entry: "CatalogueEntry") -> tuple[object, ...]:
    gated = {True: "yes", False: "no", None: None}[entry.gated]
    facts = (entry.name, entry.embedding_dim, entry.tile_px, entry.mpp, entry.pooling, entry.precision)
    words = "yes" if entry.has_text_tower else None
    return (*facts, words, gated, entry.licence, entry.source)


def _record(entry: "CatalogueEntry") -> dict[str, Any]:
    return {field.name: getattr(entry, field.name) for field in dataclasses.fields(entry)}


def _text(value: Any) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, tuple):
        return ", ".join(str(part) for part in value)
    if isinstance(value, dict):
        return ", ".join(f"{key}={part}" for key, part in value.items()) or "-"
    return str(value)
