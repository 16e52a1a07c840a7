"""`embedstore encode-slides`."""

import sys
import time
from typing import Any

import click

from cli.flags import Flag, Section
from cli.json_log import log_json_option
from cli.options import (
    collection_option,
    json_option,
    print_json,
    print_notes,
    print_table,
    slides_option,
)
from embedstore.encoder_config import VisualWordsConfig
from embedstore.quantities import human_time

WORDS = Section("visual-words", VisualWordsConfig, "words", "components", "tiles", Flag("seed"))


@click.command(epilog="Example:  embedstore encode-slides --store my-store --encoder mean")
@click.option("--store", "-s", metavar="PATH|URI", help="The store: a directory, or a URI such as s3://bucket/store.")
@collection_option
@click.option(
    "--encoder",
    default="mean",
    show_default=True,
    metavar="NAME",
    help="What encodes: mean, visual-words, or your own function as module:function or file.py:function.",
)
@click.option("--name", metavar="NAME", help="Name of the vectors in the store.  [default: the encoder's]")
@WORDS
@click.option(
    "--codebook-of", metavar="COLLECTION", help="Use the codebook of this collection, of the same extractor and --name."
)
@slides_option
@click.option("--rebuild", is_flag=True, help="Make the vectors of that name anew where there are some.")
@click.option(
    "--device", default="auto", show_default=True, help="Of your own torch module: auto, cpu, cuda or cuda:N."
)
@click.option("--list", "list_encoders", is_flag=True, help="Only list the encoders that embedstore knows.")
@log_json_option
@json_option
def command(
    store: str | None,
    collection: str | None,
    encoder: str,
    name: str | None,
    codebook_of: str | None,
    slides: tuple[str, ...],
    rebuild: bool,
    device: str,
    list_encoders: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Turn the tile vectors of each slide into one vector; no pixel is read.

    Slides that are encoded already are skipped, unless their tiles changed since. visual-words fits a codebook to a
    sample of the collection's tiles, once; slides that come later are encoded by the same.
    """
    if list_encoders:
        _print_encoders(as_json)
        return
    if store is None:
        raise click.UsageError("name the store with --store")
    from embedstore import api

    began = time.monotonic()
    chosen = api.open(store).collection(collection)
    done = chosen.encode_slides(
        encoder, name=name, slides=slides, rebuild=rebuild, codebook_of=codebook_of, device=device,
        **WORDS.given(options),
    )  # fmt: skip
    seconds = time.monotonic() - began
    if as_json:
        record = None if done.record is None else done.record.as_record()
        print_json(
            {
                "collection": chosen.name, "record": record, "encoded": done.encoded, "already": done.already,
                "failed": done.failed, "notes": done.notes, "seconds": round(seconds, 3),
            }
        )  # fmt: skip
    else:
        if done.failed:
            print_table([[slide, reason] for slide, reason in done.failed.items()], ["slide", "reason"])
        as_what = "" if done.record is None else f" as {done.record.ref.name}, {done.record.ref.dim} dimensions"
        click.echo(
            f"{chosen.name}: {len(done.encoded):,} slide(s) encoded{as_what}, {done.already:,} already there, "
            f"{len(done.failed):,} failed, in {human_time(seconds)}"
        )
        print_notes(done.notes)
    if done.failed:
        sys.exit(3)


def _print_encoders(as_json: bool) -> None:
    import dataclasses

    from embedstore.encoder_config import BUILTIN_ENCODERS
    from embedstore.encoders import published_encoders

    published = [dataclasses.asdict(entry) for entry in published_encoders().values()]
    if as_json:
        print_json({"builtin": BUILTIN_ENCODERS, "published": published})
        return
    click.echo(f"built in: {', '.join(BUILTIN_ENCODERS)}; published, for a function of your own:\n")
    columns = ("name", "tile_px", "mpp", "dim", "licence", "gated", "url")
    rows = [[entry["name"], entry["extractors"][0], *(entry[column] for column in columns[1:])] for entry in published]
    print_table(rows, ["encoder", "extractor", *columns[1:]])
