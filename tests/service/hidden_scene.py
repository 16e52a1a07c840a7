"""A store of two projects, in which everything that must stay hidden from one has a word that occurs nowhere else."""

from pathlib import Path

import numpy as np

from embedstore.encoders import MeanEncoder, encode_slides
from embedstore.map_config import MapConfig
from embedstore.maps import make_map
from embedstore.progress import Progress
from embedstore.service.jobs.spool import Spool, keep_slides, spool_folder
from embedstore.service.security.pseudonyms import Pseudonyms
from embedstore.slides import fingerprint
from embedstore.store import (
    Collection,
    CollectionWriter,
    FragmentWriter,
    Job,
    Label,
    Outcome,
    Run,
    SlideRow,
    Store,
    StoredAugmenter,
    StoredHead,
)
from heads.stored_examples import StoredExamples
from tests.collection_records import collection_record
from tests.heads.records import head_record, linear_head
from tests.slides.drawings import tissue_picture, write_tiff
from tests.store import predicted

DIM = 4
TILES, EDGE = 6, 128
#: {slide: what its list says}; every text of the first project has the word amber, of the second bronto.
SLIDES = {
    "amberford/amber-1.svs": {"patient": "Amberley", "cohort": "A", "diagnosis": "ambera", "grade": "1"},
    "amberford/amber-2.svs": {"patient": "Ambers, Ann", "cohort": "A", "diagnosis": "ambera", "grade": "1"},
    "bronto 1.svs": {"patient": "Bronte", "cohort": "B", "diagnosis": "brontoma", "grade": "bronto bad"},
    "bronto 2.svs": {"patient": "4711", "cohort": "B", "diagnosis": "brontoma", "grade": "bronto bad"},
}
AMBER = [name for name in SLIDES if "amber" in name]
BRONTO = [name for name in SLIDES if "bronto" in name]
PROJECT = "cohort = 'A'"
HIDDEN_OF_PROJECT = ("bronto", "bronte", "4711")
HIDDEN_BY_PSEUDONYMS = ("amber", "bronto", "bronte", "4711")


def build(folder: Path) -> Store:
    store = Store.create(folder / "amber-bronto-store")
    collection = Collection.create(store.uri, "toy", collection_record(DIM))
    files = {slide_id: folder / "files" / slide_id for slide_id in SLIDES}
    for path in files.values():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_tiff(path, tissue_picture(TILES * EDGE, EDGE), factors=(1, 2), mpp=0.5)
    deliveries = [_tiles(collection, slide_id) for slide_id in SLIDES]
    store.ledger.admit_columns(SLIDES.values())
    rows = [
        SlideRow(
            slide_id=slide_id, path=str(files[slide_id]), kind="wsi", width_l0=TILES * EDGE, height_l0=EDGE,
            slide_mpp=0.5, vendor="aperio", fingerprint=fingerprint(files[slide_id]), metadata=metadata,
        )
        for slide_id, metadata in SLIDES.items()
    ]  # fmt: skip
    store.ledger.record(rows, [])
    CollectionWriter(collection).commit(deliveries)
    outcomes = [
        Outcome(collection="toy", slide_id=slide_id, path=f"/data/{slide_id}", state="done", tiles=TILES,
                warnings=(f"slide '/data/{slide_id}' has an odd mpp",))
        for slide_id in SLIDES
    ]  # fmt: skip
    failed = SlideRow(
        slide_id="bronto-broken.svs", path="/data/bronto-broken.svs", kind="wsi", metadata={"cohort": "B"}
    )
    reason = "slide '/data/bronto-broken.svs' of patient Bronte cannot be read"
    broken = Outcome(
        collection="toy", slide_id=failed.slide_id, path=failed.path, state="failed", error="SlideFormatError",
        reason=reason,
    )  # fmt: skip
    store.ledger.record([failed], [*outcomes, broken])
    store.runs.begin(Run(run_id="r1", collections=("toy",)))
    said = {"error": f"OSError: {failed.path} of {BRONTO[0]} is torn", "settings": {"weights": failed.path}}
    store.runs.record(Run(run_id="r1", collections=("toy",), state="failed", in_hand=(BRONTO[0],), **said))
    store.runs.left("r1")
    store.labels.record(
        Label(
            task="tumour", label="yes" if tile % 2 else "no", slide_id=slide_id, x=float(EDGE * tile), y=0.0,
            edge_l0=float(EDGE), author="ann", source=f"of {slide_id}.csv", patient=str(metadata["patient"]),
        )
        for slide_id, metadata in SLIDES.items()
        for tile in range(TILES)
    )  # fmt: skip
    add_models(store)
    make_map(store, store.collection("toy"), MapConfig(method="pca"))
    encode_slides(store, store.collection("toy"), MeanEncoder(), name="mean")
    return store


def add_models(store: Store) -> None:
    """A head with predictions and an augmenter, whose cards name slides of the second project."""
    facts = predicted.facts(head="head", task="tumour", classes=("no", "yes"), positive="yes", thresholds={"yes": 0.5})
    predicted.predict(store, facts, {slide_id: predicted.two(np.linspace(0, 1, TILES)) for slide_id in SLIDES})
    tiles = store.collection("toy").tiles(columns=["tile_id"])["tile_id"].to_numpy()
    ones = np.ones(len(tiles), np.int64)
    examples = StoredExamples(
        ids=tiles, tiles=ones, group=ones.astype(np.int32), parts=np.zeros((1, len(tiles)), np.int8),
        targets=(np.ones((len(tiles), 2), bool),), known=(ones.astype(bool),),
    )  # fmt: skip
    head = linear_head("head", "tumour", np.eye(1, DIM), np.zeros(1), classes=("no", "yes"), positive="yes")
    record = head_record(
        where="diagnosis = 'brontoma'", notes=("slide 'bronto 1.svs' of patient Bronte has no label",),
        task_classes=(head.classes,), classes=head.classes, positive="yes",
        extractor=store.collection("toy").extractor(),
    )  # fmt: skip
    store.heads.save(
        StoredHead(
            name="head", task="tumour", collection="toy", model="linear", level="tile", digest="sha256:head-1",
            record=record.as_record(), parameters=head.to_bytes(), examples=examples.to_bytes(),
        )
    )  # fmt: skip
    notes = {"notes": ["slide 'bronto 1.svs' has no view"]}
    store.augmenters.save(
        StoredAugmenter(name="augmenter", collection="toy", digest="sha256:1", record=notes, parameters=b"")
    )


def add_jobs(store: Store, spool: Path) -> None:
    """A job of the first project, with a file, and one of nobody's project, that names slides of the second."""
    asked = {"format": "csv", "slides": ["bronto 1.svs"], "where": "diagnosis = 'brontoma'"}
    message = "slide '/data/bronto 1.svs' of patient Bronte cannot be read"
    file = {"name": "toy-tiles.csv", "bytes": 8, "media_type": "text/csv"}
    exported = {"file": file, "notes": [message]}
    progress = Progress(stage="export", message="bronto 2.svs")
    store.jobs.record(
        [
            Job(
                id="a1", kind="export", caller="ann", project=PROJECT, state="done", result=exported, progress=progress
            ),
            Job(
                id="b2", kind="export", caller="ann", params=asked, state="failed", error="SlideError", message=message
            ),
        ]
    )
    folder = Spool(spool_folder(str(spool), store.uri), most_bytes=1000, keep_s=1000).make("a1")
    keep_slides(folder, AMBER)
    (folder / "toy-tiles.csv").write_text("tile_id\n")


def _tiles(collection: Collection, slide_id: str):
    writer = FragmentWriter(
        table_uri=collection.table.uri, schema=collection.schema, collection="toy", slide_id=slide_id,
        xy_l0=np.stack([np.arange(TILES) * EDGE, np.zeros(TILES)], axis=1).astype(np.int32), edge_l0=EDGE,
        tissue=np.ones(TILES, np.float32),
    )  # fmt: skip
    values = np.random.default_rng(list(slide_id.encode())).normal(size=(TILES, DIM)).astype(np.float16)
    writer.put(np.arange(TILES), values)
    return writer.finish()


def pseudonyms(store: Store) -> Pseudonyms:
    return Pseudonyms(store, store.secrets.get("pseudonyms"))
