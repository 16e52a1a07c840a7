"""Tables of labels: the columns decide what a row is about."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from embedstore.errors import EmbedStoreError, LabelError, LabelFormatError, SlideNotInStoreError, TileNotFoundError
from embedstore.labels.importing import read_labels
from embedstore.store import Collection, CollectionWriter, FragmentWriter, Store
from tests.collection_records import collection_record

from .annotated import CORNER, DIM, config, make_store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return make_store(tmp_path_factory.mktemp("annotated") / "store")


def read(store: Store, path: Path, text: str, **options: Any) -> list[dict[str, Any]]:
    """What of each label is not empty."""
    path.write_text(text)
    dull = ("task", "author", "source", "key", "created_at")
    rows = [label.row() for label in read_labels(store, [path], config(**options)).labels]
    return [{name: value for name, value in row.items() if value is not None and name not in dull} for row in rows]


A, B = {"slide_id": "sub/a.mrxs"}, {"slide_id": "b.svs"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("slide_id,x,y,edge_l0,label\nb,100,200,50,x\n", {**B, "kind": "tile", "x": 100, "y": 200, "edge_l0": 50}),
        ("slide,x,y,class\nb,1.5,2,x\n", {**B, "kind": "point", "x": 1.5, "y": 2}),
        ("slide_id,label\na.mrxs,x\n", {**A, "kind": "slide"}),
        ("slide_id,label,patient\nb.svs,x,007\n", {**B, "kind": "slide", "patient": "007"}),
        ("slide_id,label,split\nb.svs,x,train\n", {**B, "kind": "slide", "split": "train"}),
        ("patient,label\n007,x\n", {"kind": "patient", "patient": "007"}),
        ("Patient ID,label\n007,x\n", {"kind": "patient", "patient": "007"}),
        ("file,slide,label\nt/2.png,tiles,x\n", {"slide_id": "tiles", "kind": "tile", "name": "t/2.png"}),
        ("name,x,y,slide_id,label\nt/2.png,,,tiles,x\n", {"slide_id": "tiles", "kind": "tile", "name": "t/2.png"}),
        ("Slide_ID; Label \nb.svs; x \n", {**B, "kind": "slide"}),
        ("\ufeffslide_id\tlabel\tnotes\nb.svs\tx\tnice\n", {**B, "kind": "slide"}),
        ('slide_id,label,notes\nb.svs,x,"two\nlines"\n', {**B, "kind": "slide"}),
        (",Slide ID,Label,Patient\n0,b.svs,x,20E4567\n,,,\n", {**B, "kind": "slide", "patient": "20E4567"}),
        ("slide_id,label,split,patient\nb.svs,x,NA,nan\n", {**B, "kind": "slide"}),
        ("slide;x;y;class\nb;1,5;2;x\n", {**B, "kind": "point", "x": 1.5, "y": 2}),
    ],
)  # fmt: skip
def test_the_columns_decide_what_a_row_is_about(store: Store, tmp_path: Path, text, expected):
    assert read(store, tmp_path / "l.csv", text) == [{"label": "x", **expected}]


def test_tiles_by_id_get_their_place(store: Store, tmp_path: Path):
    rows = store.collection().tiles().to_pylist()
    chosen = [rows[7], rows[-1]]
    assert [row["slide_id"] for row in chosen] == ["sub/a.mrxs", "tiles"]
    text = "tile_id,label\n" + "".join(f"{row['tile_id']},x\n" for row in chosen)
    assert read(store, tmp_path / "l.csv", text) == [
        {**A, "kind": "tile", "label": "x", "x": chosen[0]["x"], "y": chosen[0]["y"], "edge_l0": 100},
        {"slide_id": "tiles", "kind": "tile", "label": "x", "name": "t/2.png"},
    ]


def test_a_tile_id_in_collections_of_two_tilings_wants_one_named(tmp_path: Path):
    store = make_store(tmp_path / "store")
    other = Collection.create(store.uri, "fine", collection_record(DIM, tiling={"tile_px": 50}))
    writer = FragmentWriter(
        table_uri=other.table.uri, schema=other.schema, collection="fine", slide_id="b.svs",
        xy_l0=np.zeros((1, 2), np.int32), edge_l0=50, tissue=np.ones(1, np.float32),
    )  # fmt: skip
    writer.put(np.arange(1), np.zeros((1, DIM), np.float16))
    CollectionWriter(other).commit([writer.finish()])
    text = f"tile_id,label\n{other.tiles()['tile_id'][0].as_py()},x\n"
    with pytest.raises(LabelError, match=r"edges of 50 and 100.*name one with --collection"):
        read(store, tmp_path / "l.csv", text)
    assert read(store, tmp_path / "l.csv", text, collection="toy")[0]["edge_l0"] == 100


def test_a_column_kind_lets_a_table_mix(store: Store, tmp_path: Path):
    text = (
        "kind,slide_id,name,x,y,edge_l0,label,patient\nslide,b.svs,,,,,x,\npatient,,,,,,y,p2\ntile,b.svs,,0,0,100,z,\n"
    )
    text += "rest,b.svs,,,,,n,\npoint,b.svs,,5,6,,p,\n"
    assert [row["kind"] for row in read(store, tmp_path / "l.csv", text)] == [
        "slide",
        "patient",
        "tile",
        "rest",
        "point",
    ]


def test_rows_without_a_class_or_of_another_task_are_skipped(store: Store, tmp_path: Path):
    path = tmp_path / "l.csv"
    path.write_text("task,slide_id,label\nt,b.svs,x\nu,b.svs,y\nt,b.svs,\n,b,z\n")
    found = read_labels(store, [path], config())
    assert [label.label for label in found.labels] == ["x", "z"]
    assert found.files[0].skipped == {"without a class": 1, "of another task": 1}


def test_classes_that_the_store_writes_in_another_way_are_told(tmp_path: Path):
    store, path = make_store(tmp_path / "store"), tmp_path / "l.csv"
    path.write_text("slide_id,label\nb.svs,Tumor\n")
    read_labels(store, [path], config()).write(store)
    path.write_text("slide_id,label,patient\nb.svs,tumor,NA\n")
    assert read_labels(store, [path], config(author="other")).notes == (
        "l.csv: 1 value(s) of patient are missing: 'NA'",
        "these count as different classes: 'Tumor' and 'tumor'; `label import --class-map OLD=NEW` renames one",
    )


def test_parquet_is_read_as_pandas_writes_it(store: Store, tmp_path: Path):
    table = pa.table(
        {
            "slide_id": pa.array(["b.svs", "b.svs"]).dictionary_encode(),
            "x": [1, 2],
            "y": [3.0, 4.0],
            "label": pa.array([1, 0], pa.int64()),
            "edge_l0": [100.0, float("nan")],
        }
    )
    pa.parquet.write_table(table.drop_columns("edge_l0"), tmp_path / "l.parquet")
    labels = read_labels(store, [tmp_path / "l.parquet"], config()).labels
    assert [(label.label, label.x, label.y) for label in labels] == [("1", 1, 3), ("0", 2, 4)]
    pa.parquet.write_table(table, tmp_path / "l.parquet")
    with pytest.raises(LabelFormatError, match="row 2: 1 rows have neither name nor edge_l0"):
        read_labels(store, [tmp_path / "l.parquet"], config())


def test_places_can_be_counted_from_the_images_corner(store: Store, tmp_path: Path):
    (row,) = read(store, tmp_path / "l.csv", "slide_id,x,y,label\na,10,20,x\n", origin="bounds")
    assert (row["x"], row["y"]) == (10 + CORNER[0], 20 + CORNER[1])


def test_negative_and_names_of_classes_hold_for_tables_too(store: Store, tmp_path: Path):
    text = "slide_id,x,y,label\nb.svs,1,2,x\nb.svs,3,4,y\n"
    rows = read(store, tmp_path / "l.csv", text, class_map={"x": "mitosis"}, only=("mitosis",), negative="none")
    assert [(row["kind"], row["label"]) for row in rows] == [("point", "mitosis"), ("rest", "none")]


def test_a_slide_can_be_named_for_all_rows(store: Store, tmp_path: Path):
    text = "x,y,label,patient\n1,2,x,\n"
    assert read(store, tmp_path / "l.csv", text, slide="b")[0]["slide_id"] == "b.svs"


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("", LabelFormatError, "is empty; expected a header"),
        ("slide_id,x\nb,1\n", LabelFormatError, "expected the column label .* and one of.*found slide_id, x"),
        ("label\nx\n", LabelFormatError, "one of tile_id, slide_id"),
        ("slide,slide_id,label\nb,b,x\n", LabelFormatError, "more than one column means slide_id"),
        ("slide_id,x,y,label\nb,1,,x\nb,1,2,x\n", LabelFormatError, "line 2: 1 rows have no x or no y"),
        ("slide_id,x,y,label\nb,1,two,x\n", LabelFormatError, "line 2: y is 'two'; expected a number"),
        ("slide_id,x,y,label\nb,inf,2,x\n", LabelFormatError, "line 2: x is 'inf'; expected a number"),
        ("slide_id,x,y,edge_l0,label\nb,1,2,,x\n", LabelFormatError, "neither name nor edge_l0"),
        ("slide_id,x,y,edge_l0,label\nb,1,2,0,x\n", LabelFormatError, "edge_l0 that is not above 0"),
        ("slide_id,label\n,x\n", LabelFormatError, "line 2: 1 rows have no slide_id"),
        ("patient,label\n,x\n", LabelFormatError, "1 rows have no patient"),
        ("tile_id,label\n1.5,x\n", LabelFormatError, "line 2: tile_id is '1.5'; expected an integer"),
        ("kind,slide_id,label\narea,b,x\n", LabelFormatError, "have a kind other than"),
        ("slide_id,label\nb,x,y\n", LabelFormatError, r"has 3 value\(s\) in line 2; expected 2"),
        ("slide_id,label\nnope.svs,x\n", SlideNotInStoreError, "no slide of the store is called 'nope.svs'"),
        ("slide_id,label\nn1,x\nn2,x\nb,x\n", SlideNotInStoreError, "2 of its 3 slides are not in the store.*n1, n2"),
        ("patient,label\np9,x\n007,x\n", SlideNotInStoreError, "1 of its 2 patients have.*p9; the store has 007"),
        ("tile_id,label\n12,x\n", TileNotFoundError, "1 of its 1 tiles are not in toy: 12"),
        ("slide_id,name,label\ntiles,t/9.png,x\n", TileNotFoundError, "in no collection: t/9.png of tiles"),
        ("slide_id,x,y,label\nb,9000,2,x\n", LabelError, "place.s. lie outside.*line 2: 9000, 2 on b.svs.*8000×9000"),
        ("slide_id,x,y,label\ntiles,1,2,x\n", LabelError, "line 2: slide 'tiles' is a folder of ready-made tiles"),
        ("slide_id,label\nb,\n", LabelError, "no label in .*1 without a class"),
    ],
)  # fmt: skip
def test_a_table_that_cannot_be_used_says_why(store: Store, tmp_path: Path, text, error, message):
    with pytest.raises(EmbedStoreError, match=message) as raised:
        read(store, tmp_path / "l.csv", text)
    assert isinstance(raised.value, error)
    assert "l.csv" in str(raised.value)
    assert store.labels.table().to_pylist() == []


def test_rows_of_unknown_slides_and_patients_can_be_left_out(store: Store, tmp_path: Path):
    (tmp_path / "l.csv").write_text(
        "kind,slide_id,patient,label\nslide,b,,x\nslide,gone,,x\npatient,,007,y\npatient,,p9,y\n"
    )
    found = read_labels(store, [tmp_path / "l.csv"], config(skip_unknown_slides=True))
    assert [(label.slide_id, label.patient) for label in found.labels] == [("b.svs", None), (None, "007")]
    assert found.notes == ("l.csv: skipped 2 of slides that the store lacks",)
