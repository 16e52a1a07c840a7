"""`embedstore demo`."""

import time
from pathlib import Path
from typing import Any

import click

from cli.options import human_bytes, human_time, json_option, print_json, print_table


@click.command(epilog="Example:  embedstore demo --out demo")
@click.argument("slides", nargs=-1, metavar="[SLIDES]...")
@click.option(
    "--out", type=click.Path(file_okay=False), default="demo", show_default=True, help="Folder for all of it."
)
@click.option("--extractor", "-e", default="stain-texture", show_default=True, help="As in `embedstore ingest`.")
@click.option("--mpp", type=float, help="Resolution of slides that do not say theirs.")
@click.option("--in-process", is_flag=True, help="Without Ray.")
@json_option
def command(
    slides: tuple[str, ...], out: str, extractor: str, mpp: float | None, in_process: bool, as_json: bool
) -> None:
    """Run the main job on three synthetic slides, or on SLIDES of yours: no network, no GPU, no account.

    Makes the slides, ingests them, prints what is in the store, and writes a contact sheet of tiles and a tissue
    overlay of each slide.
    """
    from actors.crew import Where
    from actors.ingest import ingest, plan_collections
    from embedstore.config import IngestConfig, RunConfig
    from embedstore.extractors import ExtractorConfig
    from embedstore.slides import find_slides
    from embedstore.store import Store

    began = time.monotonic()
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    say = _Steps(began, quiet=as_json)
    if not slides:
        slides = (str(_synthesize(folder / "slides", say)),)
    store_path = folder / "store"
    say(f"ingest into {store_path}")
    sources = find_slides(slides, mpp=mpp)
    plans = plan_collections([ExtractorConfig(ref=extractor)], {})
    summary = ingest(
        sources, str(store_path), plans, config=IngestConfig(), run=RunConfig(), where=Where(in_process=in_process)
    )
    store = Store.open(store_path)
    rows = store.ledger.outcomes(collection=summary.collections[0])
    pictures = [_sheet(store, summary.collections[0], folder, say)] if summary.done or summary.already else []
    pictures += _overlays(sources, plans[0].tiling, folder, say)
    found = {
        "store": str(store_path),
        "seconds": time.monotonic() - began,
        "summary": vars(summary),
        "slides": rows,
        "pictures": [str(picture) for picture in pictures],
    }
    if as_json:
        print_json(found)
    else:
        _print_store(store, summary, rows, pictures)


class _Steps:
    """Says on stderr what is being done, and when."""

    def __init__(self, began: float, *, quiet: bool):
        self._began, self._quiet = began, quiet

    def __call__(self, text: str) -> None:
        if not self._quiet:
            click.echo(f"[{human_time(time.monotonic() - self._began):>7}] {text}", err=True)


def _synthesize(folder: Path, say: _Steps) -> Path:
    from embedstore.synthetic import LIST_NAME, write_demo_collection

    slide_list = folder / LIST_NAME
    if slide_list.exists():
        say(f"the slides of an earlier demo are in {folder}")
    else:
        say(f"three synthetic slides into {folder}")
        write_demo_collection(folder, on_slide=lambda slide: say(f"  {slide.path.name}"))
    return slide_list


def _sheet(store: Any, collection: str, folder: Path, say: _Steps) -> Path:
    import numpy as np

    from embedstore.exchange import contact_sheet, tile_pictures

    say("a contact sheet of tiles")
    columns = ["tile_id", "slide_id", "x", "y", "edge_l0", "name", "tissue"]
    everything = store.collection(collection).tiles(columns=columns)
    chosen = np.sort(np.random.default_rng(0).choice(len(everything), min(24, len(everything)), replace=False))
    rows = everything.take(chosen).to_pylist()
    captions = [f"{row['slide_id']}\n{row['name'] or '{x}, {y}'.format(**row)}" for row in rows]
    sheet = contact_sheet(
        tile_pictures(store, collection, rows), captions, title=f"{len(everything)} tiles in {collection}"
    )
    path = folder / "tiles.png"
    sheet.save(path)
    return path


def _overlays(sources: Any, tiling: Any, folder: Path, say: _Steps) -> list[Path]:
    from embedstore.config import ReadingConfig, TissueConfig
    from embedstore.errors import SlideError
    from embedstore.slides import draw_overlay, report_tissue, write_png

    say("a tissue overlay of each slide")
    made = []
    for source in sources:
        if source.kind == "tiles":
            continue
        try:
            report = report_tissue(source, tiling=tiling, tissue=TissueConfig(), reading=ReadingConfig())
        except SlideError as error:
            say(f"  no overlay of {source.slide_id}: {error}")
            continue
        path = folder / f"{source.slide_id.replace('/', '-')}.tissue.png"
        write_png(draw_overlay(report.thumbnail, report.tissue), path)
        made.append(path)
    return made


def _print_store(store: Any, summary: Any, rows: list[dict[str, Any]], pictures: list[Path]) -> None:
    print_table(
        [[row["slide_id"], row["state"], row["tiles"], row["reader"], row["reason"] or ""] for row in rows],
        ["slide", "state", "tiles", "reader", "reason"],
    )
    collection = store.collection(summary.collections[0])
    click.echo(
        f"\n{collection.name}: {len(collection)} tiles of {len(collection.slides())} slides, "
        f"{collection.dim} dimensions, {human_bytes(collection.vectors_bytes())} of vectors in {store.uri}"
    )
    if summary.tiles:
        click.echo(f"{summary.tiles} tiles embedded in {human_time(summary.seconds)}")
    for picture in pictures:
        click.echo(f"look at {picture}")
    click.echo(f"next: embedstore ls --store {store.uri} --tiles 5")
