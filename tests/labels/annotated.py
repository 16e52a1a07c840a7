"""A store with slides whose images do not begin at the corner, and files of annotations on them."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from embedstore.labels.importing import ImportConfig
from embedstore.store import Collection, CollectionWriter, FragmentWriter, SlideRow, Store
from tests.collection_records import collection_record

DIM = 2
CORNER = (1000, 2000)  # of the image on `sub/a.mrxs`
SIZE = (8000, 9000)
FOLDER_TILES = ("n/1.png", "t/2.png")


def slide(slide_id: str, *, corner: tuple[int, int] | None, patient: str, kind: str = "wsi") -> SlideRow:
    bounds = {} if corner is None else {"bounds_x": corner[0], "bounds_y": corner[1]}
    return SlideRow(
        slide_id=slide_id, path=f"/slides/{slide_id}", kind=kind, width_l0=SIZE[0], height_l0=SIZE[1],
        metadata={"patient": patient}, **bounds,
    )  # fmt: skip


def make_store(folder: Path) -> Store:
    """Slides sub/a.mrxs (bounds off zero), b.svs, old.svs (no bounds, not ingested), and a folder of tiles."""
    store = Store.create(folder)
    store.ledger.admit_columns([{"patient": "p"}])
    store.ledger.record(
        [
            slide("sub/a.mrxs", corner=CORNER, patient="007"),
            slide("b.svs", corner=(0, 0), patient="p2"),
            slide("old.svs", corner=None, patient="p2"),
            slide("tiles", corner=None, patient="p3", kind="tiles"),
        ],
        [],
    )
    collection = Collection.create(store.uri, "toy", collection_record(DIM, tiling={"tile_px": 100}))
    y, x = np.divmod(np.arange(100), 10)
    lattice = (np.stack([x, y], axis=1) * 100).astype(np.int32)
    deliveries = []
    for slide_id, xy, names in (
        ("sub/a.mrxs", lattice + np.array(CORNER, np.int32), None),
        ("b.svs", lattice, None),
        ("tiles", np.zeros((2, 2), np.int32), FOLDER_TILES),
    ):
        writer = FragmentWriter(
            table_uri=collection.table.uri, schema=collection.schema, collection="toy", slide_id=slide_id, xy_l0=xy,
            edge_l0=0 if names else 100, tissue=np.ones(len(xy), np.float32), names=names,
        )  # fmt: skip
        writer.put(np.arange(len(xy)), np.zeros((len(xy), DIM), np.float16))
        deliveries.append(writer.finish())
    CollectionWriter(collection).commit(deliveries)
    return store


def config(**options: Any) -> ImportConfig:
    return ImportConfig(**{"task": "t", "author": "anna", **options})


def square(x: float, y: float, edge: float) -> list[list[float]]:
    return [[x, y], [x + edge, y], [x + edge, y + edge], [x, y + edge], [x, y]]


def polygon(*rings: list[list[float]]) -> dict[str, Any]:
    return {"type": "Polygon", "coordinates": list(rings)}


def feature(geometry: Any, classification: Any = None, **properties: Any) -> dict[str, Any]:
    if classification is not None:
        properties["classification"] = {"name": classification} if isinstance(classification, str) else classification
    return {"type": "Feature", "geometry": geometry, "properties": {"objectType": "annotation", **properties}}


def write_geojson(path: Path, *features: dict[str, Any], **members: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"type": "FeatureCollection", **members, "features": features}))
    return path


def write_asap(path: Path, *annotations: tuple[str, str, list[list[float]]], groups: str = "") -> Path:
    """(Type, PartOfGroup, points) of each annotation."""
    body = ""
    for number, (kind, group, points) in enumerate(annotations):
        at = "".join(f'<Coordinate Order="{i}" X="{x}" Y="{y}" />' for i, (x, y) in enumerate(points))
        body += f'<Annotation Name="Annotation {number}" Type="{kind}" PartOfGroup="{group}" Color="#F4FA58">'
        body += f"<Coordinates>{at}</Coordinates></Annotation>"
    path.write_text(
        f'<?xml version="1.0"?>\n<ASAP_Annotations><Annotations>{body}</Annotations>'
        f"<AnnotationGroups>{groups}</AnnotationGroups></ASAP_Annotations>"
    )
    return path
