"""`embedstore demo`."""

import time
from pathlib import Path
from typing import Any

import click

from cli.extractor_flags import DEFAULT_EXTRACTOR
from cli.options import json_option, print_json, print_table
from embedstore.quantities import human_bytes, human_time

#: Three patients of two slides each: one to fit on, one to validate on, one to test on, in turn.
DEMO_SLIDES = 6
DEMO_SIZE_PX = (4000, 3400)
DEMO_TASK, DEMO_CLASS, DEMO_HEAD = "dense-nuclei", "dense nuclei", "dense-nuclei"


@click.command(epilog="Example:  embedstore demo --out demo")
@click.argument("slides", nargs=-1, metavar="[SLIDES]...")
@click.option(
    "--out",
    type=click.Path(file_okay=False),
    default="demo",
    show_default=True,
    help="Folder for everything that it writes.",
)
@click.option(
    "--extractor", "-e", default=DEFAULT_EXTRACTOR, show_default=True, help="The extractor, as in `embedstore ingest`."
)
@click.option("--mpp", type=float, help="Resolution of slides that do not state theirs, µm per level-0 pixel.")
@click.option("--in-process", is_flag=True, help="Use threads of this process, not Ray.")
@json_option
def command(
    slides: tuple[str, ...], out: str, extractor: str, mpp: float | None, in_process: bool, as_json: bool
) -> None:
    """Run all of it on six synthetic slides, or the ingest on SLIDES of yours: no network, no GPU, no account.

    Makes the slides, ingests them, prints what is in the store, and writes a contact sheet of tiles, a tissue overlay
    of each slide, and the nearest tiles of one tile. Then it imports the synthetic slides' ground truth as labels, fits
    a head that finds dense nuclei, and draws what it says of each slide.
    """
    from actors.ingest import ingest
    from actors.request import IngestRequest, group_by_tiling
    from embedstore.config import ExecutionConfig
    from embedstore.extractors import ExtractorConfig
    from embedstore.slides import find_slides
    from embedstore.store import Store

    began = time.monotonic()
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    say = _Steps(began, quiet=as_json)
    synthetic = not slides
    if synthetic:
        slides = (str(_synthesize(folder / "slides", say)),)
    store_path = folder / "store"
    say(f"ingest into {store_path}")
    sources = find_slides(slides, mpp=mpp)
    groups = group_by_tiling([ExtractorConfig(ref=extractor)], {})
    summary = ingest(
        IngestRequest(
            sources=sources,
            store_uri=str(store_path),
            groups=groups,
            execution=ExecutionConfig(in_process=in_process),
        )
    )
    store = Store.open(store_path)
    rows = [outcome.as_record() for outcome in store.ledger.outcomes(collection=summary.collections[0])]
    pictures = [_sheet(store, summary.collections[0], folder, say)] if summary.done or summary.already else []
    pictures += _overlays(sources, groups[0].tiling, folder, say)
    if pictures and (summary.done or summary.already):
        pictures.append(_neighbours(store, summary.collections[0], folder, say))
    head = _fit(store, summary.collections[0], folder / "slides", say) if synthetic else None
    if head is not None:
        pictures += _heat_maps(store, head, folder, say)
    found = {
        "store": str(store_path),
        "head": None if head is None else {"name": head.name, "digest": head.digest, **head.record},
        "seconds": time.monotonic() - began,
        "summary": summary.as_record(),
        "slides": rows,
        "pictures": [str(picture) for picture in pictures],
    }
    if as_json:
        print_json(found)
    else:
        _print_store(store, summary, rows)
        if head is not None:
            _print_head(head)
        for picture in pictures:
            click.echo(f"look at {picture}")
        click.echo(f"next: embedstore search --store {store.uri} --slide SLIDE --at X Y --montage like.png")


class _Steps:
    """Says on stderr what is being done, and when."""

    def __init__(self, began: float, *, quiet: bool):
        self._began, self._quiet = began, quiet

    def __call__(self, text: str) -> None:
        if not self._quiet:
            click.echo(f"[{human_time(time.monotonic() - self._began):>7}] {text}", err=True)


def _synthesize(folder: Path, say: _Steps) -> Path:
    from synthetic_slides import LIST_NAME, write_demo_collection

    slide_list = folder / LIST_NAME
    if slide_list.exists():
        say(f"the slides of an earlier demo are in {folder}")
    else:
        say(f"{DEMO_SLIDES} synthetic slides of {DEMO_SLIDES // 2} patients into {folder}")
        write_demo_collection(
            folder, slides=DEMO_SLIDES, size_px=DEMO_SIZE_PX, on_progress=lambda progress: say(f"  {progress.message}")
        )
    return slide_list


def _sheet(store: Any, collection: str, folder: Path, say: _Steps) -> Path:
    import numpy as np

    from embedstore.export import contact_sheet, tile_pictures

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


def _neighbours(store: Any, name: str, folder: Path, say: _Steps) -> Path:
    from embedstore import api
    from embedstore.export import write_montage

    collection = store.collection(name)
    columns = ["tile_id", "slide_id"]
    rows = collection.tiles(columns=columns, where="tissue > 0.9", limit=2000)
    rows = rows if len(rows) else collection.tiles(columns=columns)
    tile = rows["tile_id"][len(rows) // 2].as_py()
    several = len(collection.slides()) > 1
    say("the nearest tiles of one tile, in the other slides" if several else "the nearest tiles of one tile")
    began = time.monotonic()
    hits = api.open(store.uri).collection(name).search(tile, k=12, exclude_same="slide" if several else None).hits
    say(f"  the search took {1000 * (time.monotonic() - began):.0f} ms, the first of this process")
    path = folder / "neighbours.png"
    write_montage(hits, path)
    return path


def _fit(store: Any, collection: str, truths: Path, say: _Steps) -> Any:
    """A head for dense nuclei from the ground truth of the synthetic slides, as a user's annotations would be used."""
    from heads.devices import prepare_jax

    prepare_jax()
    from embedstore.labels.importing import ImportConfig, find_label_files, read_labels
    from heads.config import FitConfig, SplitConfig
    from heads.fit import fit_heads

    say(f"labels from {truths}")
    config = ImportConfig(task=DEMO_TASK, only=(DEMO_CLASS,), negative="other", author="demo")
    read_labels(store, find_label_files([truths], "geojson"), config).write(store)
    say(f"fit a head for {DEMO_CLASS!r}, a patient left out at a time")
    began = time.monotonic()
    head = fit_heads(
        store, store.collection(collection), [DEMO_TASK],
        FitConfig(positive=DEMO_CLASS, split=SplitConfig(folds=DEMO_SLIDES // 2)),
        names=[DEMO_HEAD], replace_heads=True,
    )[0]  # fmt: skip
    say(f"  the head took {human_time(time.monotonic() - began)}, programs compiled and all")
    return head


def _heat_maps(store: Any, head: Any, folder: Path, say: _Steps) -> list[Path]:
    from embedstore.export import export_scope, write_heat_map
    from heads.predict import predict

    say(f"{head.name} on every tile of the store")
    predict(store, head.name)
    say("a heat map of each slide")
    scope = export_scope(store, head=head.name)
    made = []
    for slide_id in scope.slides:
        path = folder / f"{slide_id.replace('/', '-')}.{DEMO_HEAD}.png"
        write_heat_map(scope, slide_id, path)
        made.append(path)
    return made


def _print_head(head: Any) -> None:
    from cli.head_card import print_head

    click.echo()
    print_head(head, brief=True)
    spent = head.record["seconds"]
    click.echo(
        f"the head took {human_time(sum(spent.values()))}: "
        + ", ".join(f"{part} {human_time(seconds)}" for part, seconds in spent.items())
    )


def _print_store(store: Any, summary: Any, rows: list[dict[str, Any]]) -> None:
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
