"""`embedstore audit`."""

import sys
from typing import TYPE_CHECKING, Any

import click

from cli.json_log import log_json_option
from cli.options import collection_option, json_option, print_json, print_notes, print_table, store_option

if TYPE_CHECKING:
    from embedstore.search import Duplicates, Leaks, Outliers

SHOWN = 10  # rows of each finding that are printed; --json has all of them


@click.command(epilog="Example:  embedstore audit --store my-store --leaks --sample 5000")
@store_option
@collection_option
@click.option(
    "--leaks",
    is_flag=True,
    help="Find near-duplicate tiles of different patients, or of different parts of a split (--head).",
)
@click.option(
    "--outliers", is_flag=True, help="Find tiles that are far from all tiles of other slides: artefacts, another stain."
)
@click.option("--duplicates", is_flag=True, help="Find slides that were ingested twice under two names.")
@click.option(
    "--head", metavar="NAME", help="Look for leaks between the parts of this head's split instead of between patients."
)
@click.option(
    "--distance",
    type=click.FloatRange(0, 2),
    metavar="D",
    help="Cosine distance up to which two tiles count as the same.  [default: a quarter of the usual distance between "
    "patients]",
)
@click.option(
    "--sample",
    type=click.IntRange(0),
    default=2000,
    show_default=True,
    metavar="N",
    help="Number of tiles to check, spread evenly over slides; 0 checks all.",
)
@log_json_option
@json_option
def command(
    store: str,
    collection: str | None,
    leaks: bool,
    outliers: bool,
    duplicates: bool,
    head: str | None,
    distance: float | None,
    sample: int,
    as_json: bool,
) -> None:
    """Find leaks, outliers and duplicate slides; all three unless some are named.

    Exit code 0: nothing was found; 3: something was. Tiles of flat colour look alike everywhere, so view the findings
    with `embedstore show` before you act on them.
    """
    from embedstore import api

    opened = api.open(store)
    if head is not None:
        leaks = leaks or not (outliers or duplicates)
        if not leaks:
            raise click.UsageError("--head goes with --leaks; give both, or leave --head out")
    elif not (leaks or outliers or duplicates):
        leaks = outliers = duplicates = True
    if head is not None:
        fitted_on = opened.head(head).collection
        if collection not in (None, fitted_on):
            raise click.UsageError(f"head {head} was fitted on collection {fitted_on}, not {collection}")
        collection = fitted_on
    chosen = opened.collection(collection)
    report: dict[str, Any] = {"store": opened.uri, "collection": chosen.name}
    findings = 0
    if leaks:
        leaks_found = chosen.find_leaks(head=head, distance=distance, sample=sample)
        report["leaks"] = _leaks_record(leaks_found, head)
        findings += len(leaks_found)
    if duplicates:
        duplicates_found = chosen.find_duplicates(distance=distance, sample=sample)
        report["duplicates"] = _duplicates_record(duplicates_found)
        findings += len(duplicates_found)
    if outliers:
        outliers_found = chosen.find_outliers(sample=sample)
        report["outliers"] = _outliers_record(outliers_found)
        findings += len(outliers_found)
    if as_json:
        print_json(report)
    else:
        for name, show in (("leaks", _show_leaks), ("duplicates", _show_duplicates), ("outliers", _show_outliers)):
            if name in report:
                show(report[name])
                print_notes(report[name]["notes"])
    if findings:
        sys.exit(3)


def _leaks_record(leaks: "Leaks", head: str | None) -> dict[str, Any]:
    return {
        "across": "patients" if head is None else f"parts of the split of {head}",
        "sampled": leaks.sampled,
        "of": leaks.candidates,
        "distance": leaks.distance,
        "leaking": len(leaks),
        "between": [{"side": a, "other_side": b, "tiles": tiles} for a, b, tiles in leaks.between],
        "pairs": leaks.pairs.to_pylist(),
        "notes": leaks.notes,
    }


def _duplicates_record(duplicates: "Duplicates") -> dict[str, Any]:
    return {
        "pairs": [vars(pair) for pair in duplicates.pairs],
        "sampled": duplicates.sampled,
        "of": duplicates.candidates,
        "distance": duplicates.distance,
        "notes": duplicates.notes,
    }


def _outliers_record(outliers: "Outliers") -> dict[str, Any]:
    return {
        "sampled": outliers.sampled,
        "of": outliers.candidates,
        "neighbours": outliers.neighbours,
        "limit": outliers.limit,
        "outliers": len(outliers),
        "slides": outliers.slides.to_pylist(),
        "tiles": [row for row in outliers.tiles.to_pylist() if row["outlier"]],
        "notes": outliers.notes,
    }


def _show_leaks(record: dict[str, Any]) -> None:
    click.echo(
        f"leaks: {record['leaking']:,} of {record['sampled']:,} tiles looked at ({record['of']:,} in all) have a "
        f"near-duplicate across {record['across']} (distance {record['distance']:.2g} or less)"
    )
    if record["leaking"]:
        groups = [[row["side"], row["other_side"], row["tiles"]] for row in record["between"]]
        _print_first(groups, ["side", "other side", "tiles"])
        pairs = [
            [pair["distance"], pair["tile_id"], _place(pair), pair["other_tile_id"], _place(pair, "other_")]
            for pair in record["pairs"]
        ]
        _print_first(pairs, ["distance", "tile", "place", "other tile", "place"])


def _show_duplicates(record: dict[str, Any]) -> None:
    click.echo(f"duplicates: {len(record['pairs']):,} pair(s) of slides are the same")
    if record["pairs"]:
        pairs = [
            [pair["slide_id"], pair["other"], pair["share"], "yes" if pair["same_file"] else "no"]
            for pair in record["pairs"]
        ]
        _print_first(pairs, ["slide", "other slide", "share of tiles", "same file"])


def _show_outliers(record: dict[str, Any]) -> None:
    click.echo(
        f"outliers: {record['outliers']:,} of {record['sampled']:,} tiles looked at ({record['of']:,} in all) are far "
        "from all other slides"
    )
    if record["outliers"]:
        columns = ("slide_id", "outliers", "tiles", "share", "distance")
        slides = [[slide[column] for column in columns] for slide in record["slides"] if slide["outliers"]]
        _print_first(slides, ["slide", "outliers", "tiles", "share", "median distance"])
        tiles = [[tile["distance"], tile["score"], tile["tile_id"], _place(tile)] for tile in record["tiles"]]
        _print_first(tiles, ["distance", "score", "tile", "place"])


def _place(row: dict[str, Any], prefix: str = "") -> str:
    name = row[f"{prefix}name"]
    return f"{row[f'{prefix}slide_id']} " + (name or f"{row[f'{prefix}x']}, {row[f'{prefix}y']}")


def _print_first(rows: list[list[Any]], header: list[str]) -> None:
    print_table(rows[:SHOWN], header)
    if len(rows) > SHOWN:
        click.echo(f"… and {len(rows) - SHOWN:,} more; --json prints all")
    click.echo()
