"""Labels out and in again: the same labels."""

import json
from pathlib import Path

import pytest
import shapely

from embedstore.errors import ExportError
from embedstore.labels.exporting import write_labels
from embedstore.labels.importing import read_labels
from embedstore.store import Label, Store
from embedstore.store.label import statement_rows

from .annotated import CORNER, config, make_store

HOLED = shapely.normalize(
    shapely.difference(shapely.box(1100, 2100, 1900, 2900), shapely.box(1300.5, 2300.25, 1400, 2400))
)
SAID = {"task": "t", "author": "anna", "source": "/f"}
WKB, AROUND = shapely.to_wkb(HOLED), shapely.to_wkb(shapely.normalize(HOLED.envelope))
LABELS = [
    Label(kind="area", label="x", slide_id="sub/a.mrxs", geometry=WKB, split="train", **SAID),
    Label(kind="rest", label="n", slide_id="sub/a.mrxs", geometry=AROUND, **SAID),
    Label(kind="point", label="y", slide_id="sub/a.mrxs", x=1000.5, y=2000.0, patient="p", **SAID),
    Label(kind="rest", label="n", slide_id="b.svs", **SAID),
    Label(kind="tile", label="x", slide_id="b.svs", x=100.0, y=200.0, edge_l0=100.0, **SAID),
    Label(kind="tile", label="x", slide_id="tiles", name="t/2.png", split="test", **SAID),
    Label(kind="slide", label="y", slide_id="b.svs", patient="p2", **SAID),
    Label(kind="patient", label="y", patient="007", **SAID),
]  # fmt: skip
PLACES = ("kind", "label", "slide_id", "name", "x", "y", "edge_l0", "geometry", "split", "patient")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return make_store(tmp_path_factory.mktemp("annotated") / "store")


def plain(labels) -> list[tuple]:
    return sorted((tuple(getattr(label, name) for name in PLACES) for label in labels), key=str)


def export(store: Store, labels, out: Path, **options) -> list[Path]:
    slides = {slide.slide_id: slide for slide in store.ledger.slides()}
    return [file.path for file in write_labels(statement_rows(labels), slides, out, task="t", **options)]


@pytest.mark.parametrize("origin", ["bounds", "level0"])
def test_a_folder_gives_the_same_labels_back(store: Store, tmp_path: Path, origin):
    files = export(store, LABELS, tmp_path / "out", origin=origin)
    assert [str(path.relative_to(tmp_path / "out")) for path in files] == [
        "b.svs.geojson", "sub/a.mrxs.geojson", "labels.csv",
    ]  # fmt: skip
    again = read_labels(store, files, config())
    assert plain(again.labels) == plain(LABELS)
    assert again.conflicts == again.notes == ()


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_table_gives_all_but_areas_back(store: Store, tmp_path: Path, suffix):
    labels = [label for label in LABELS if label.geometry is None]
    files = export(store, labels, tmp_path / f"out{suffix}")
    assert plain(read_labels(store, files, config()).labels) == plain(labels)


def test_qupath_sees_an_area_from_the_corner_of_the_image(store: Store, tmp_path: Path):
    (path,) = export(store, LABELS[:1], tmp_path / "a.geojson")
    content = json.loads(path.read_text())
    (one,) = content["features"]
    left, top, right, bottom = HOLED.bounds
    expected = (left - CORNER[0], top - CORNER[1], right - CORNER[0], bottom - CORNER[1])
    assert shapely.geometry.shape(one["geometry"]).bounds == expected == (100, 100, 900, 900)
    assert one["properties"]["objectType"] == "annotation"
    assert one["properties"]["classification"]["name"] == "x"
    assert len(one["properties"]["classification"]["color"]) == 3
    assert content["embedstore"]["origin"] == "bounds"


def test_a_file_that_cannot_hold_the_labels_is_refused(store: Store, tmp_path: Path):
    with pytest.raises(ExportError, match=r"a table cannot hold the 2 areas.*name a folder"):
        export(store, LABELS, tmp_path / "out.csv")
    with pytest.raises(ExportError, match="GeoJSON cannot hold the 4 labels"):
        export(store, LABELS, tmp_path / "out.geojson")
    with pytest.raises(ExportError, match="one file, and there are several slides"):
        export(store, LABELS[:4], tmp_path / "out.geojson")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["a.mrxs.geojson", "labels.csv"])
def test_what_somebody_drew_or_wrote_is_never_replaced(store: Store, tmp_path: Path, name: str):
    def write() -> list[Path]:
        return [each.path for each in write_labels(statement_rows(LABELS), {}, tmp_path / "out", task="t")]

    written = write()
    (path,) = (each for each in written if each.name == name)
    assert write() == written  # files of its own are
    drawn = (
        json.dumps({"type": "FeatureCollection", "features": []}) if name.endswith("json") else "file,label\na.png,x\n"
    )
    path.write_text(drawn)
    with pytest.raises(ExportError, match=rf"{name}': embedstore did not write the .* stands there"):
        write()
    assert path.read_text() == drawn
