"""`embedstore demo`."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.extractor_flags import DEFAULT_EXTRACTOR
from cli.options import json_option, print_json, print_table
from embedstore.output_files import require_folder
from embedstore.quantities import human_bytes, human_time

if TYPE_CHECKING:
    from actors.summary import IngestSummary
    from embedstore.api import Collection, Head, Store

#: Three patients of two slides each: one to fit on, one to validate on, one to test on, in turn.
DEMO_SLIDES = 6
DEMO_SIZE_PX = (4000, 3400)
#: A store each: neighbours of one's own tiles are no synthetic ones.
DEMO_FOLDER, OWN_FOLDER = "demo", "demo-own"
DEMO_TASK, DEMO_CLASS, DEMO_HEAD = "dense-nuclei", "dense nuclei", "dense-nuclei"


@click.command(epilog="Example:  embedstore demo --out demo")
@click.argument("slides", nargs=-1, metavar="[SLIDES]...")
@click.option(
    "--out",
    type=click.Path(file_okay=False),
    help="Folder for everything that it writes.  [default: demo; with SLIDES demo-own]",
)
@click.option(
    "--extractor", "-e", default=DEFAULT_EXTRACTOR, show_default=True, help="The extractor, as in `embedstore ingest`."
)
@click.option("--mpp", type=float, help="Resolution of slides that do not state theirs, µm per level-0 pixel.")
@click.option("--in-process", is_flag=True, help="Run in this process, also where there is a GPU.")
@json_option
def command(
    slides: tuple[str, ...], out: str | None, extractor: str, mpp: float | None, in_process: bool, as_json: bool
) -> None:
    """Run everything on six synthetic slides, or ingest your own SLIDES: no network, no GPU, no account.

    Makes the slides, ingests them, prints what the store holds, and writes a contact sheet of tiles, a tissue overlay
    of each slide, and the nearest neighbours of one tile. Then it imports the ground truth of the synthetic slides as
    labels, fits a head that finds dense nuclei, and draws its predictions for each slide.
    """
    from embedstore import api

    began = time.monotonic()
    synthetic = not slides
    folder = Path(out or (DEMO_FOLDER if synthetic else OWN_FOLDER))
    require_folder(folder)
    say = _Steps(began, quiet=as_json)
    if synthetic:
        slides = (str(_synthesize(folder / "slides", say)),)
    say(f"ingest into {folder / 'store'}")
    store = api.create(folder / "store")
    result = store.ingest(slides, extractors=extractor, mpp=mpp, execution={"in_process": in_process})
    summary = result.summary
    collection = store.collection(summary.collections[0])
    embedded = bool(summary.done or summary.already)
    pictures = [_contact_sheet(collection, folder, say)] if embedded else []
    pictures += _overlays(store, collection, folder, say)
    if pictures and embedded:
        pictures.append(_neighbours(collection, folder, say))
    head = _fit(store, folder / "slides", say) if synthetic else None
    if head is not None:
        pictures += _heat_maps(head, folder, say)
    rows = store.outcomes(collection=collection.name).to_pylist()
    if as_json:
        record = {
            "store": store.uri,
            "head": None if head is None else head.as_record(),
            "seconds": time.monotonic() - began,
            "summary": summary.as_record(),
            "slides": rows,
            "pictures": [str(picture) for picture in pictures],
        }
        print_json(record)
        return
    _print_store(collection, summary, rows)
    if head is not None:
        _print_head(head)
    for picture in pictures:
        click.echo(f"look at {picture}")
    click.echo(f"search: embedstore search --store {store.uri} --slide SLIDE --at X Y --montage like.png")
    click.echo(f"the page: embedstore serve --store {store.uri}, and open the address that it prints in a browser")


class _Steps:
    """Prints each step on stderr, with the time since the start."""

    def __init__(self, began: float, *, quiet: bool):
        self._began, self._quiet = began, quiet

    def __call__(self, text: str) -> None:
        if not self._quiet:
            click.echo(f"[{human_time(time.monotonic() - self._began):>7}] {text}", err=True)


def _synthesize(folder: Path, say: _Steps) -> Path:
    from embedstore import api
    from synthetic_slides import LIST_NAME

    slide_list = folder / LIST_NAME
    if slide_list.exists():
        say(f"the slides of an earlier demo are in {folder}")
    else:
        say(f"{DEMO_SLIDES} synthetic slides of {DEMO_SLIDES // 2} patients into {folder}")
        api.synthesize_slides(
            folder, slides=DEMO_SLIDES, size_px=DEMO_SIZE_PX, on_progress=lambda progress: say(f"  {progress.message}")
        )
    return slide_list


def _contact_sheet(collection: "Collection", folder: Path, say: _Steps) -> Path:
    say("a contact sheet of tiles")
    path = folder / "tiles.png"
    collection.contact_sheet().save(path)
    return path


def _overlays(store: "Store", collection: "Collection", folder: Path, say: _Steps) -> list[Path]:
    from PIL import Image

    from embedstore import api
    from embedstore.errors import SlideError

    say("a tissue overlay of each slide")
    paths = []
    for slide in store.slides:
        if slide["kind"] == "tiles":
            continue
        try:
            report = api.inspect_tissue(slide["path"], mpp=slide["slide_mpp"], tiling=collection.tiling)
        except SlideError as error:
            say(f"  no overlay of {slide['slide_id']}: {error}")
            continue
        paths.append(folder / f"{slide['slide_id'].replace('/', '-')}.tissue.png")
        Image.fromarray(report.overlay(tiles=False)).save(paths[-1])
    return paths


def _neighbours(collection: "Collection", folder: Path, say: _Steps) -> Path:
    tiles = collection.tiles(where="tissue > 0.9", limit=2000)
    tiles = tiles if len(tiles) else collection.tiles()
    tile = tiles["tile_id"][len(tiles) // 2]
    several = len(collection.slides) > 1
    say("the nearest tiles of one tile, in the other slides" if several else "the nearest tiles of one tile")
    began = time.monotonic()
    result = collection.search(tile, k=12, exclude_same="slide" if several else None)
    say(f"  the search took {1000 * (time.monotonic() - began):.0f} ms, the first of this process")
    path = folder / "neighbours.png"
    result.export(path)
    return path


def _fit(store: "Store", ground_truth: Path, say: _Steps) -> "Head":
    """A head for dense nuclei from the ground truth of the synthetic slides, as a user's annotations would be used."""
    say(f"labels from {ground_truth}")
    store.labels.read(
        sorted(ground_truth.glob("*.geojson")), task=DEMO_TASK, only=(DEMO_CLASS,), negative="other", author="demo"
    )
    say(f"fit a head for {DEMO_CLASS!r}, a patient left out at a time")
    began = time.monotonic()
    head = store.fit_head(
        DEMO_TASK, positive=DEMO_CLASS, split={"folds": DEMO_SLIDES // 2}, name=DEMO_HEAD, replace=True
    )
    say(f"  the head took {human_time(time.monotonic() - began)}, compilation included")
    return head


def _heat_maps(head: "Head", folder: Path, say: _Steps) -> list[Path]:
    say(f"{head.name} on every tile of the store")
    head.predict()
    say("a heat map of each slide")
    paths = []
    for slide_id in dict.fromkeys(head.predictions["slide_id"]):
        paths.append(folder / f"{slide_id.replace('/', '-')}.{DEMO_HEAD}.png")
        head.export(paths[-1], slides=[slide_id])
    return paths


def _print_head(head: "Head") -> None:
    from cli.head_card import print_head

    click.echo()
    print_head(head, brief=True)
    stages = head.record.seconds
    click.echo(
        f"the head took {human_time(sum(stages.values()))}: "
        + ", ".join(f"{stage} {human_time(seconds)}" for stage, seconds in stages.items())
    )


def _print_store(collection: "Collection", ingested: "IngestSummary", rows: list[dict[str, Any]]) -> None:
    print_table(
        [[row["slide_id"], row["state"], row["tiles"], row["reader"], row["reason"] or ""] for row in rows],
        ["slide", "state", "tiles", "reader", "reason"],
    )
    totals = collection.summary()
    click.echo(
        f"\n{totals.name}: {totals.tiles} tiles of {totals.slides} slides, {totals.dim} dimensions, "
        f"{human_bytes(totals.bytes)} of vectors"
    )
    if ingested.tiles:
        click.echo(f"{ingested.tiles} tiles embedded in {human_time(ingested.seconds)}")
