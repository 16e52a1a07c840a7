"""ASAP's XML, as CAMELYON has it."""

import gzip

import pytest

from embedstore.annotations import read_annotations, read_asap
from embedstore.errors import LabelFormatError, OtherFormatError
from tests.labels.annotated import square, write_asap

TRIANGLE = [[0, 0], [10, 0], [0, 10]]


def test_types_become_areas_and_points(tmp_path):
    found = read_asap(
        write_asap(
            tmp_path / "a.xml",
            ("Polygon", "_0", TRIANGLE),
            ("Rectangle", "_1", square(0, 0, 4)[:-1]),
            ("Rectangle", "_1", [[1, 1], [3, 4]]),
            ("Spline", "_2", TRIANGLE),
            ("Dot", "mitosis", [[5.5, 6]]),
            ("PointSet", "mitosis", [[1, 2], [3, 4]]),
        )
    )
    assert [(d.label, d.geometry.geom_type, d.geometry.area) for d in found.annotations] == [
        ("_0", "Polygon", 50), ("_1", "Polygon", 16), ("_1", "Polygon", 6), ("_2", "Polygon", 50),
        ("mitosis", "Point", 0), ("mitosis", "Point", 0), ("mitosis", "Point", 0),
    ]  # fmt: skip
    assert found.annotations[4].geometry.wkt == "POINT (5.5 6)"
    assert found.notes == ("a.xml: 1 splines are taken as polygons of their points",)
    assert (found.origin, found.begins(None), found.begins("bounds")) == (None, "level0", "bounds")


def test_points_stand_in_the_order_that_they_say(tmp_path):
    path = write_asap(tmp_path / "a.xml", ("Polygon", "x", square(0, 0, 4)[:-1]))
    text = path.read_text()
    first, second = '<Coordinate Order="1" X="4" Y="0" />', '<Coordinate Order="2" X="4" Y="4" />'
    assert first + second in text
    path.write_text(text.replace(first + second, second + first))
    assert read_asap(path).annotations[0].geometry.area == 16


def test_groups_above_are_known(tmp_path):
    groups = (
        '<Group Name="invasive" PartOfGroup="tumour" /><Group Name="tumour" PartOfGroup="lesion" />'
        '<Group Name="lesion" PartOfGroup="None" /><Group Name="loop" PartOfGroup="loop" />'
    )
    annotations = [("Polygon", name, TRIANGLE) for name in ("invasive", "lesion", "loop", "unlisted")]
    found = read_asap(write_asap(tmp_path / "a.xml", *annotations, groups=groups))
    assert [drawing.groups for drawing in found.annotations] == [("tumour", "lesion"), (), (), ()]


def test_what_cannot_be_a_label_is_skipped_and_counted(tmp_path):
    path = write_asap(
        tmp_path / "a.xml",
        ("Polygon", "None", TRIANGLE),
        ("Polygon", "", TRIANGLE),
        ("Polygon", "x", TRIANGLE[:2]),
        ("Measurement", "x", TRIANGLE[:2]),
        ("Polygon", "Ignore*", TRIANGLE),
        ("Polygon", "x", [["nan", 1], *TRIANGLE]),
        ("Polygon", "x", [["", 1], *TRIANGLE]),
    )
    skipped = {
        "without an area": 1,
        "of type Measurement": 1,
        "of class Ignore*": 1,
        "with a coordinate that is missing": 2,
    }
    found = read_asap(path).classified()
    assert found.annotations == ()
    assert found.skipped == {"without a class": 2, **skipped}
    found = read_asap(path).classified(unclassified="tumour")
    assert [drawing.label for drawing in found.annotations] == ["tumour"] * 2
    assert found.skipped == skipped


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "gzip"])
def test_every_encoding_is_read(tmp_path, encoding):
    path = write_asap(tmp_path / "a.xml", ("Polygon", "Опухоль", TRIANGLE))
    text = path.read_text(encoding="utf-8").replace(
        '"1.0"?', '"1.0" encoding="utf-16"?' if encoding == "utf-16" else '"1.0"?'
    )
    path.write_bytes(gzip.compress(text.encode()) if encoding == "gzip" else text.encode(encoding))
    assert [drawing.label for drawing in read_annotations(path).annotations] == ["Опухоль"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<ASAP_Annotations", "is no XML: it is cut or wrong at line 1, column 1.*another --format"),
        (b'<!DOCTYPE a [<!ENTITY b "c">]><ASAP_Annotations/>', "without a DOCTYPE"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><ASAP_Annotations/>'.encode("utf-16"), "without a DOCTYPE"),
        (b"<?xml version='1.0' encoding='klingon'?><ASAP_Annotations/>", "encoding cannot be read|is no XML"),
        (b"", "found an empty file"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_says_so(tmp_path, content, message):
    (tmp_path / "a.xml").write_bytes(content)
    with pytest.raises(LabelFormatError, match=rf"a\.xml.*({message})"):
        read_asap(tmp_path / "a.xml")


def test_xml_of_another_kind_is_an_error_of_its_own(tmp_path):
    (tmp_path / "a.xml").write_text("<Annotations MicronsPerPixel='0.25'></Annotations>")
    with pytest.raises(OtherFormatError, match="expected the element ASAP_Annotations, found 'Annotations'"):
        read_asap(tmp_path / "a.xml")


def test_a_decimal_comma_is_understood(tmp_path):
    found = read_asap(write_asap(tmp_path / "a.xml", ("Dot", "x", [["512,5", "6,25"]]), ("Dot", "x", [["7", "1e2"]])))
    assert [drawing.geometry.wkt for drawing in found.annotations] == ["POINT (512.5 6.25)", "POINT (7 100)"]
    assert found.notes == ("a.xml: 1 annotations have decimal commas; 512,5 is taken as 512.5",)


@pytest.mark.parametrize("number", ["1,234.5", "1_0", "abc", "inf", "1e400", "9" * 400, "0x10", "12px"])
def test_a_coordinate_that_is_no_number_is_named(tmp_path, number):
    path = write_asap(tmp_path / "a.xml", ("Polygon", "x", [[number, 0], *TRIANGLE]), ("Dot", "y", [[1, 2]]))
    with pytest.raises(
        LabelFormatError, match=r"a.xml, annotation 1 \(Annotation 0\): expected a coordinate .*, found"
    ):
        read_asap(path)
    found = read_asap(path, skip_invalid=True)
    assert [drawing.label for drawing in found.annotations] == ["y"]
    assert found.skipped == {"malformed": 1}
    assert "annotation 1 (Annotation 0): expected a coordinate" in found.notes[0]
