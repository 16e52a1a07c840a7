"""ASAP's XML, as CAMELYON has it."""

import pytest

from embedstore.errors import LabelFormatError
from embedstore.labels.files.asap_xml import read_asap

from .annotated import square, write_asap

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
    assert found.origin is None


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
    found = read_asap(
        write_asap(
            tmp_path / "a.xml",
            ("Polygon", "None", TRIANGLE),
            ("Polygon", "", TRIANGLE),
            ("Polygon", "x", TRIANGLE[:2]),
            ("Measurement", "x", TRIANGLE[:2]),
            ("Polygon", "Ignore*", TRIANGLE),
        )
    )
    assert found.annotations == ()
    assert found.skipped == {
        "without a class": 2, "without an area": 1, "of type Measurement": 1, "of class Ignore*": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<ASAP_Annotations", "is no XML.*another --format"),
        (b"<Annotations MicronsPerPixel='0.25'></Annotations>", "expected the element ASAP_Annotations, found 'Annot"),
        (b'<!DOCTYPE a [<!ENTITY b "c">]><ASAP_Annotations/>', "without a DOCTYPE"),
        ("<ASAP_Annotations/>".encode("utf-16"), "in UTF-8"),
    ],
)
def test_what_is_no_asap_file_says_so(tmp_path, content, message):
    (tmp_path / "a.xml").write_bytes(content)
    with pytest.raises(LabelFormatError, match=rf"a\.xml.*{message}"):
        read_asap(tmp_path / "a.xml")


@pytest.mark.parametrize("number", ["12,5", "", "nan"])
def test_a_coordinate_that_is_no_number_is_named(tmp_path, number):
    path = write_asap(tmp_path / "a.xml", ("Polygon", "x", TRIANGLE))
    path.write_text(path.read_text().replace('X="10"', f'X="{number}"'))
    with pytest.raises(LabelFormatError, match=r"annotation 1 \(Annotation 0\): a coordinate is no (finite )?number"):
        read_asap(path)
