"""Small stores whose views follow a known rule: what latent augmenters are trained on in the tests."""

from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
from numpy.typing import NDArray

from embedstore.config import ViewConfig, as_record
from embedstore.store import (
    Collection,
    CollectionWriter,
    FragmentWriter,
    Label,
    SlideRow,
    Store,
    ViewRows,
    ViewsWriter,
)
from embedstore.tile_id import tile_ids, tile_keys
from embedstore.views import PARAMETERS, draw_parameters
from heads.config import AugmenterConfig
from heads.networks.augmenter_network import apply_augmenter
from tests.collection_records import collection_record

DIM = 12
EDGE = 512
COLLECTION = "toy"
VIEWS = ViewConfig(count=4)
#: An augmenter that is trained in seconds, and learns next to nothing.
TINY = AugmenterConfig(chunks=3, width=8, heads=2, steps=60, batch=64, evaluate_every=30, bootstrap=20)
#: `apply_augmenter` as one program for a shape, in place of dozens that are of one operation each.
augment = jax.jit(apply_augmenter, static_argnums=0)
#: From vectors (n, dim) and parameters (n, P), scaled to about ±1, to those of views.
Rule = Callable[[NDArray[np.float64], NDArray[np.float64], np.random.Generator], NDArray[np.float64]]


def known_rule(vectors, done, rng):
    """A change by the stains and one that turns the vector where the tile is mirrored, and little noise."""
    mixing = np.random.default_rng(5)
    by_stain, by_mirror = mixing.normal(size=(len(PARAMETERS), DIM)), mixing.normal(size=(DIM, DIM)) / np.sqrt(DIM)
    stains = done * np.array([name.endswith(("_gain", "_shift")) for name in PARAMETERS])
    mirror = done[:, PARAMETERS.index("mirror"), None]
    return vectors + stains @ by_stain + mirror * (vectors @ by_mirror) + 0.05 * rng.normal(size=vectors.shape)


def noise_rule(vectors, done, rng):
    """Noise that nothing foretells."""
    return vectors + rng.normal(size=vectors.shape)


def make_viewed(
    folder: Path,
    *,
    rule: Rule = known_rule,
    slides: int = 12,
    tiles: int = 60,
    patients: bool = True,
    views: bool = True,
    without: tuple[str, ...] = (),
    named: bool = False,
    broken: bool = False,
    seed: int = 0,
) -> Store:
    """A store of slides with views; two slides are of one patient.

    Args:
        patients: Whether the ledger knows them.
        views: Whether there are any.
        without: Slides that have none.
        named: Slides are folders of ready-made tiles, whose labels give each two tiles a patient.
        broken: A view holds NaN.
    """
    rng = np.random.default_rng(seed)
    store = Store.create(folder / "store")
    record = collection_record(DIM)
    collection = Collection.create(store.uri, COLLECTION, record)
    table = store.views(COLLECTION)
    if views:
        table.create(record.of_views(VIEWS))
    store.ledger.admit_columns([{"patient": "p", "site": "s"}])
    deliveries, labels = [], []
    for s in range(slides):
        slide = f"s{s:02}.svs"
        xy = np.stack([np.arange(tiles) % 8, np.arange(tiles) // 8], axis=1).astype(np.int32) * EDGE
        names = tuple(f"{i}.png" for i in range(tiles)) if named else None
        vectors = rng.normal(size=(tiles, DIM)) * np.linspace(0.5, 3, DIM) + 1
        viewed = views and slide not in without
        writer = FragmentWriter(
            table_uri=collection.table.uri, schema=collection.schema, collection=COLLECTION, slide_id=slide, xy_l0=xy,
            edge_l0=EDGE, tissue=np.ones(tiles, np.float32), names=names,
            views=ViewRows(table_uri=table.table.uri, schema=table.schema, config=VIEWS) if viewed else None,
        )  # fmt: skip
        writer.put(np.arange(tiles), vectors.astype(np.float16))
        if viewed:
            drawn = draw_parameters(tile_ids(slide, tile_keys(xy, names)), VIEWS).reshape(tiles * VIEWS.count, -1)
            made = rule(np.repeat(vectors, VIEWS.count, axis=0), drawn / _scale(), rng)
            if broken and s == 0:
                made[5, 3] = np.nan
            writer.put_views(np.arange(len(made)), made.astype(np.float16))
        deliveries.append(writer.finish())
        metadata = {"patient": f"P{s // 2:02}" if patients else None, "site": "AB"[s % 2]}
        store.ledger.record([SlideRow(slide_id=slide, path=f"/{slide}", kind="wsi", metadata=metadata)], [])
        labels += [
            Label(task="t", label="x", slide_id=slide, name=name, patient=f"{slide} {i // 2}", author="a", source="l")
            for i, name in enumerate(names or ())
        ]
    CollectionWriter(collection).commit(deliveries)
    if views:
        ViewsWriter(table).commit([delivery for delivery in deliveries if delivery.view_rows])
    store.labels.record(labels)
    return store


def _scale() -> NDArray[np.float64]:
    """What drawn parameters are at most."""
    most = as_record(VIEWS)
    found = {"crop": most["crop"], "blur": most["blur"], "contrast": most["contrast"], "brightness": most["brightness"],
             "turns": 3.0, "jpeg": 100.0 - most["jpeg"]}  # fmt: skip
    return np.array(
        [most["stain"] if name.endswith(("_gain", "_shift")) else found.get(name, 1) for name in PARAMETERS]
    )


def labelled(folder: Path, **options) -> Store:
    """A store with views whose tiles are 'high' or 'low' by what their vectors hold."""
    store = make_viewed(folder, **options)
    tiles = store.collection().tiles().to_pylist()
    sums = np.array([sum(tile["vector"][:4]) for tile in tiles])
    store.labels.record(
        [
            Label(task="size", label="high" if high else "low", slide_id=tile["slide_id"], x=tile["x"], y=tile["y"],
                  edge_l0=EDGE, author="me", source="t.csv")
            for tile, high in zip(tiles, sums > np.median(sums), strict=True)
        ]
    )  # fmt: skip
    return store
