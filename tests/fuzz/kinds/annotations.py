"""Files of annotations, as labels and as tissue masks: GeoJSON of QuPath and XML of ASAP."""

import gzip
import io
import json
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

from embedstore.labels import read_labels
from embedstore.labels.files import write_label_geojson
from embedstore.slides import read_mask
from embedstore.store import SlideRow, Store
from embedstore.store.schema import LABELS
from tests.fuzz.kind import Kind
from tests.fuzz.mutations import as_json, changed_bytes, changed_tree
from tests.labels.annotated import CORNER, SIZE, config, feature, polygon, slide, square, write_asap

SHAPES: list[Any] = [
    polygon(square(30, 50, 900), square(100, 200, 300)),
    polygon([[0, 0], [500, 500], [500, 0], [0, 500], [0, 0]]),
    {"type": "MultiPolygon", "coordinates": [[square(0, 0, 90)], [square(50, 0, 90), square(52, 2, 30)]]},
    {"type": "GeometryCollection", "geometries": [{"type": "Point", "coordinates": [1, 2]}, polygon(square(5, 0, 20))]},
    {"type": "MultiPoint", "coordinates": [[1, 2], [3.5, 4]]},
    {"type": "LineString", "coordinates": [[0, 0], [10, 10]]},
    {"type": "MultiLineString", "coordinates": [[[0, 0], [10, 10]]]},
]
CLASSES: list[Any] = [{"name": "Tumor", "color": [200, 0, 0]}, {"names": ["Tumor", "Positive"]}, "Stroma", "Ignore*", 0]
FEATURES: list[Any] = [feature(shape, CLASSES[i % len(CLASSES)], label=i) for i, shape in enumerate(SHAPES)]
OWN = {"kind": "rest", "split": "train", "patient": "007"}
TREES: list[Any] = [
    *({"type": "FeatureCollection", "features": [{**each, "id": "7e2f"}, FEATURES[0]]} for each in FEATURES),
    {"type": "FeatureCollection", "embedstore": {"origin": "level0", "slide_id": "b.svs", "rest": ["n"], "head": "h"},
     "features": [feature(SHAPES[0], "x", embedstore=OWN)]},
    FEATURES[:2], FEATURES[2], *SHAPES[:4],
]  # fmt: skip


_LAUGHS = '<!ENTITY e0 "ha">' + "".join(f'<!ENTITY e{i} "{f"&e{i - 1};" * 10}">' for i in range(1, 10))
#: An encoding, and a document's type.
DOCTYPES = (
    f"utf-8:<!DOCTYPE a [{_LAUGHS}]>", f"utf-16:<!DOCTYPE a [{_LAUGHS}]>", f"cp037:<!DOCTYPE a [{_LAUGHS}]>",
    f"utf-7:<!DOCTYPE a [{_LAUGHS}]>", 'utf-8:<!DOCTYPE a [<!ENTITY e9 SYSTEM "file:///etc/hostname">]>',
    'utf-8:<!DOCTYPE a SYSTEM "http://localhost:1/a.dtd">', 'utf-8:<! DOCTYPE a [<!ENTITY % p "x"> %p;]>',
)  # fmt: skip


def _zipped(data: bytes) -> bytes:
    with zipfile.ZipFile(archive := io.BytesIO(), "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr(zipfile.ZipInfo("a.geojson"), data)  # the same bytes at any time of the day
    return archive.getvalue()


def _xml() -> list[bytes]:
    groups = '<Group Name="_1" PartOfGroup="Tumor" /><Group Name="Tumor" PartOfGroup="None" />'
    annotations = [
        (kind, group, square(100, 200, 300)[:-1])
        for kind, group in (("Polygon", "_1"), ("Spline", "None"), ("Rectangle", "x"), ("Dot", "y"), ("PointSet", ""))
    ]
    with TemporaryDirectory() as folder:
        path = write_asap(Path(folder, "a.xml"), *annotations, groups=groups)
        comma = path.read_text(encoding="utf-8").replace('X="100"', 'X="100,5"')
        made = [path.read_bytes(), comma.encode(), comma.encode("utf-16"), gzip.compress(path.read_bytes(), mtime=0)]
    return [*made, *(_entities(made[0], how) for how in DOCTYPES)]


def _entities(data: bytes, doctype: str) -> bytes:
    """A file with a definition of entities, which names the class by one; in an encoding that may hide it."""
    text = data.decode().replace('<?xml version="1.0"?>', "").replace('PartOfGroup="x"', 'PartOfGroup="&e9;"')
    encoding = doctype.partition(":")[0]
    return f'<?xml version="1.0" encoding="{encoding}"?>'.encode() + f"{doctype.partition(':')[2]}{text}".encode(
        encoding
    )


def _reader(name: str) -> Callable[[Path], Callable[[bytes], object]]:
    """Labels are read, brought into the form of the table, written and read again; masks are painted."""

    def make(folder: Path) -> Callable[[bytes], object]:
        store = Store.create(folder / "store")
        rows = [slide("b.svs", corner=CORNER, patient="p")]
        store.ledger.admit_columns([{"patient": "p"}])
        store.ledger.record(rows, [])
        path, again = folder / f"b{name}", folder / "again.geojson"

        def read(data: bytes) -> object:
            path.write_bytes(data)
            mode = len(data) % 3
            options: Any = {"skip_invalid": mode == 1, "unclassified": "u" if mode else None}
            return _as_labels(store, rows[0], path, again, options) if len(data) % 2 else _as_mask(path)

        return read

    return make


def _as_labels(store: Store, row: SlideRow, path: Path, again: Path, options: Any) -> None:
    labels = read_labels(store, [path], config(negative="n", exclude=(), **options)).labels
    pa.Table.from_pylist([label.row() for label in labels], schema=LABELS)
    write_label_geojson(labels, row, again, task="t")
    json.loads(again.read_text(encoding="utf-8"))
    repeated = read_labels(store, [again], config(slide="b.svs", author="ben")).labels
    assert {label.label for label in repeated} == {label.label for label in labels}


def _as_mask(path: Path) -> None:
    mask = read_mask(path, bounds_l0=(*CORNER, SIZE[0] - CORNER[0], SIZE[1] - CORNER[1]), mpp_l0=0.25, mpp=16.0)
    assert mask.mask.any()


GEOJSON = as_json(st.sampled_from(TREES))
#: Brackets in brackets, alone and as the coordinates of a shape.
NESTED = st.builds(
    lambda before, opened, deep, closed: (before + opened * deep + "1" + closed * deep).encode(),
    st.sampled_from(["", '{"type": "Polygon", "coordinates": ', '{"type": "Feature", "geometry": ']),
    st.sampled_from(["[", '{"geometry":', '{"type": "GeometryCollection", "geometries": [']),
    st.sampled_from([20, 900, 1100, 100_000, 1_000_000]), st.sampled_from(["", "]", "}", "]}"]),
)  # fmt: skip
KINDS = [
    Kind(name="geojson-values", inputs=as_json(changed_tree(st.sampled_from(TREES))), reader=_reader(".geojson")),
    Kind(
        name="geojson-bytes",
        inputs=NESTED | changed_bytes(GEOJSON | GEOJSON.map(partial(gzip.compress, mtime=0)) | GEOJSON.map(_zipped)),
        reader=_reader(".geojson"),
    ),
    Kind(name="asap", inputs=changed_bytes(st.deferred(lambda: st.sampled_from(_xml()))), reader=_reader(".xml")),
]
