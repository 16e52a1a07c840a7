"""DICOM, read back: values and squares lie where the tiles lie on the slide, in the study of the slide."""

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.uid import generate_uid

from embedstore.errors import ConfigError, ExportError
from embedstore.export import ExportRequest, export
from embedstore.export.predictions import dicom_objects
from embedstore.store import Store
from tests.export.prediction_scene import EDGE, make_store
from tests.slides.drawings import tissue_picture, write_dicom
from tests.store.predicted import facts, predict, predict_slides, two

hd = pytest.importorskip("highdicom")

CORNERS = [(128, 64), (256, 64), (128, 192)]
PROBABILITIES = [0.9, 0.25, 0.75]
MM = 0.0005


def dicom_slide(path: Path, *, without: tuple[str, ...] = ()) -> pydicom.Dataset:
    """A slide, rotated on the glass, without pixels worth the name; `without` these attributes."""
    data = pydicom.dcmread(write_dicom(path, tissue_picture(64, 64), mpp=MM * 1000))
    data.TotalPixelMatrixColumns = data.TotalPixelMatrixRows = 4096  # as `make_store` has it
    data.SpecificCharacterSet = "ISO_IR 100"
    data.PatientName, data.PatientID, data.PatientBirthDate, data.PatientSex = "Müller^Änne", "4711", "", "F"
    data.StudyInstanceUID, data.FrameOfReferenceUID = generate_uid(), generate_uid()
    data.AccessionNumber, data.StudyID, data.StudyDate, data.StudyTime = "A1", "1", "20260102", "030405"
    data.ImageOrientationSlide = [0, -1, 0, -1, 0, 0]
    origin = pydicom.Dataset()
    origin.XOffsetInSlideCoordinateSystem, origin.YOffsetInSlideCoordinateSystem = 20.5, 41.25
    data.TotalPixelMatrixOriginSequence = [origin]
    for name in without:
        delattr(data, name)
    data.save_as(path, enforce_file_format=True)
    return data


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A DICOM slide of three tiles, in two rows of which the second has one."""
    store = make_store(tmp_path, {"a.dcm": CORNERS}, stride_px=256)
    predict(store, facts(), {"a.dcm": two(PROBABILITIES)})
    return store


def exported(store: Store, folder: Path, **settings) -> tuple[pydicom.Dataset, pydicom.Dataset]:
    """The map and the annotations of a.dcm."""
    export(store, ExportRequest(format="dicom", path=folder, head="lesion", **settings))
    return hd.imread(folder / "a.dcm.map.dcm"), hd.ann.annread(folder / "a.dcm.ann.dcm")


def test_a_pixel_of_the_map_is_a_tile_and_lies_at_its_centre(store: Store, tmp_path: Path):
    slide = dicom_slide(tmp_path / "a.dcm")
    mapped, _ = exported(store, tmp_path / "out")
    names = [group.RealWorldValueMappingSequence[0].LUTExplanation for group in mapped.PerFrameFunctionalGroupsSequence]
    assert names == ["probability of normal", "probability of tumour"]
    values = mapped.get_frames(apply_real_world_transform=True)
    np.testing.assert_allclose(values[1], [[0.9, 0.25], [0.75, np.nan]], rtol=1e-6)
    np.testing.assert_allclose(values[0], [[0.1, 0.75], [0.25, np.nan]], rtol=1e-6)
    assert mapped.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing == [EDGE * MM, EDGE * MM]
    in_map = hd.spatial.PixelToReferenceTransformer.for_image(mapped, for_total_pixel_matrix=True)
    on_slide = hd.spatial.ImageToReferenceTransformer.for_image(slide, for_total_pixel_matrix=True)
    centres = np.array(CORNERS) + EDGE / 2
    np.testing.assert_allclose(in_map(np.array([[0, 0], [1, 0], [0, 1]])), on_slide(centres), atol=1e-9)
    np.testing.assert_allclose(in_map(np.array([[0, 0]]))[0], [20.5 - 127.5 * MM, 41.25 - 191.5 * MM, 0], atol=1e-9)


def test_a_map_of_overlapping_tiles_has_a_pixel_at_each_centre(tmp_path: Path):
    corners = [(0, 0), (64, 0), (128, 64)]
    store = make_store(tmp_path, {"a.dcm": corners}, stride_px=128)
    predict(store, facts(), {"a.dcm": two(PROBABILITIES)})
    slide = dicom_slide(tmp_path / "a.dcm")
    mapped, _ = exported(store, tmp_path / "out")
    assert (mapped.TotalPixelMatrixColumns, mapped.TotalPixelMatrixRows) == (3, 2)
    in_map = hd.spatial.PixelToReferenceTransformer.for_image(mapped, for_total_pixel_matrix=True)
    on_slide = hd.spatial.ImageToReferenceTransformer.for_image(slide, for_total_pixel_matrix=True)
    np.testing.assert_allclose(in_map(np.array([[2, 1]])), on_slide(np.array([[128 + 64, 64 + 64]])), atol=1e-9)


def test_a_large_map_is_cut_into_frames_that_say_where_they_lie(store: Store, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(dicom_objects, "FRAME_PX", 1)
    dicom_slide(tmp_path / "a.dcm")
    mapped, _ = exported(store, tmp_path / "out")
    found = {}
    for group, frame in zip(mapped.PerFrameFunctionalGroupsSequence, mapped.pixel_array, strict=True):
        at = group.PlanePositionSlideSequence[0]
        place = at.ColumnPositionInTotalImagePixelMatrix, at.RowPositionInTotalImagePixelMatrix
        found[(group.RealWorldValueMappingSequence[0].LUTLabel, *place)] = frame.item()
    tumour = {(1, 1): 0.9, (2, 1): 0.25, (1, 2): 0.75, (2, 2): np.nan}
    expected = {("tumour", *at): p for at, p in tumour.items()} | {("normal", *at): 1 - p for at, p in tumour.items()}
    assert found == pytest.approx(expected, nan_ok=True)


def test_annotations_are_squares_in_groups_of_a_class_with_its_probability(store: Store, tmp_path: Path):
    slide = dicom_slide(tmp_path / "a.dcm")
    _, annotated = exported(store, tmp_path / "out")
    normal, tumour = annotated.get_annotation_groups()
    assert (normal.label, tumour.label) == ("normal", "tumour")
    assert annotated.annotation_coordinate_type.value == "2D"
    assert [square.tolist() for square in tumour.get_graphic_data("2D")] == [
        [[128, 64], [256, 64], [256, 192], [128, 192]],
        [[128, 192], [256, 192], [256, 320], [128, 320]],
    ]
    assert [square[0].tolist() for square in normal.get_graphic_data("2D")] == [[256, 64]]
    names, values, units = tumour.get_measurements()
    assert (names[0].meaning, units[0].value) == ("Probability", "1")
    np.testing.assert_allclose(values[:, 0], [0.9, 0.75], rtol=1e-6)
    assert hd.color.CIELabColor.from_dicom_value(tumour.RecommendedDisplayCIELabValue).to_rgb() == (213, 94, 0)
    assert annotated.ReferencedImageSequence[0].ReferencedSOPInstanceUID == slide.SOPInstanceUID
    assert annotated.ReferencedSeriesSequence[0].SeriesInstanceUID == slide.SeriesInstanceUID
    _, sure = exported(store, tmp_path / "out", min_probability=0.8)
    assert [(group.label, group.NumberOfAnnotations) for group in sure.get_annotation_groups()] == [("tumour", 1)]


def test_both_belong_to_the_study_and_patient_of_the_slide(store: Store, tmp_path: Path):
    slide = dicom_slide(tmp_path / "a.dcm")
    mapped, annotated = exported(store, tmp_path / "out")
    for made in (mapped, annotated):
        assert made.StudyInstanceUID == slide.StudyInstanceUID
        assert (str(made.PatientName), made.PatientID, made.AccessionNumber) == ("Müller^Änne", "4711", "A1")
        assert made.SeriesInstanceUID != slide.SeriesInstanceUID
    assert mapped.ContentQualification == "RESEARCH"
    assert mapped.FrameOfReferenceUID == slide.FrameOfReferenceUID
    assert mapped.SeriesInstanceUID != annotated.SeriesInstanceUID
    again = exported(store, tmp_path / "again")
    assert [made.SOPInstanceUID for made in again] == [mapped.SOPInstanceUID, annotated.SOPInstanceUID]
    predict(store, facts(), {"a.dcm": two([0.9, 0.25, 0.7])})
    other = exported(store, tmp_path / "again")
    assert [made.SeriesInstanceUID for made in other] == [mapped.SeriesInstanceUID, annotated.SeriesInstanceUID]
    assert not {made.SOPInstanceUID for made in other} & {mapped.SOPInstanceUID, annotated.SOPInstanceUID}


def test_names_of_classes_that_are_long_alike_or_not_english_stay_apart(tmp_path: Path):
    store = make_store(tmp_path, {"a.dcm": CORNERS[:2]})
    classes = ("Drüsengewebe, tumorfrei", "Drüsengewebe, tumorös")
    predict(store, facts(classes=classes), {"a.dcm": two([0.9, 0.1])})
    dicom_slide(tmp_path / "a.dcm")
    mapped, annotated = exported(store, tmp_path / "out")
    labels = [group.RealWorldValueMappingSequence[0].LUTLabel for group in mapped.PerFrameFunctionalGroupsSequence]
    assert labels == ["Drüsengewebe,~1", "Drüsengewebe,~2"]
    assert tuple(group.label for group in annotated.get_annotation_groups()) == classes


def test_attention_of_a_head_for_slides_is_a_map_of_ranks(tmp_path: Path):
    store = make_store(tmp_path, {"a.dcm": CORNERS})
    made = facts(head="grade", level="slide")
    predict_slides(store, made, {"a.dcm": np.float32([0.2, 0.8])}, {"a.dcm": np.float32([0.5, 0.1, 0.3])})
    dicom_slide(tmp_path / "a.dcm")
    result = export(store, ExportRequest(format="dicom", path=tmp_path / "out", head="grade"))
    assert (result.unit, [file.rows for file in result.files]) == ("tile values", [3, 3])
    mapped = hd.imread(tmp_path / "out" / "a.dcm.map.dcm")
    np.testing.assert_allclose(mapped.pixel_array, [[1, 0], [0.5, np.nan]])
    (group,) = hd.ann.annread(tmp_path / "out" / "a.dcm.ann.dcm").get_annotation_groups()
    assert (group.label, group.get_measurements()[1][:, 0].tolist()) == ("attention", [1, 0, 0.5])


def test_a_slide_that_does_not_say_where_it_lies_is_noted_and_gaps_are_empty(store: Store, tmp_path: Path):
    dicom_slide(tmp_path / "a.dcm", without=("TotalPixelMatrixOriginSequence", "PatientName", "AccessionNumber"))
    result = export(store, ExportRequest(format="dicom", path=tmp_path / "out", head="lesion"))
    assert "does not say where on the glass it lies (TotalPixelMatrixOriginSequence); taken as 0, 0" in result.notes[0]
    assert pydicom.dcmread(tmp_path / "out" / "a.dcm.map.dcm").PatientName == ""


def test_what_cannot_be_placed_is_refused_and_nothing_is_written(store: Store, tmp_path: Path, monkeypatch):
    request = ExportRequest(format="dicom", path=tmp_path / "out", head="lesion")
    with pytest.raises(ExportError, match=r"'a\.dcm' cannot be read at .*bring it back there"):
        export(store, request)
    (tmp_path / "a.dcm").write_bytes(bytes(200))
    with pytest.raises(ExportError, match=r"'a\.dcm' is no DICOM file, .*convert it, .* or export geojson"):
        export(store, request)
    dicom_slide(tmp_path / "a.dcm", without=("FrameOfReferenceUID", "ImageOrientationSlide"))
    with pytest.raises(ExportError, match=r"a\.dcm has no FrameOfReferenceUID, ImageOrientationSlide, without which"):
        export(store, request)
    smaller = pydicom.dcmread(tmp_path / "a.dcm")
    smaller.TotalPixelMatrixRows = 2048
    smaller.FrameOfReferenceUID, smaller.ImageOrientationSlide = "1.2", [0, -1, 0, -1, 0, 0]
    smaller.save_as(tmp_path / "a.dcm")
    with pytest.raises(ExportError, match="has 4096 × 2048 px; it had 4096 × 4096 px when its tiles were cut"):
        export(store, request)
    with pytest.raises(ExportError, match="name the head"):
        export(store, dataclasses.replace(request, head=None, collection="toy"))
    monkeypatch.setitem(sys.modules, "highdicom", None)
    with pytest.raises(ExportError, match=r'pip install "embedstore\[dicom\]"'):
        export(store, request)
    assert not list((tmp_path / "out").iterdir())
    with pytest.raises(ConfigError, match="dicom writes two files for each slide: expected a folder"):
        ExportRequest(format="dicom", path=tmp_path / "x.dcm", head="lesion")


def test_slides_that_are_no_dicom_are_left_out_with_a_note_unless_named(tmp_path: Path):
    store = make_store(tmp_path, {"a.dcm": CORNERS, "b.svs": CORNERS, "gone.svs": CORNERS})
    predict(store, facts(), dict.fromkeys(("a.dcm", "b.svs", "gone.svs"), two(PROBABILITIES)))
    dicom_slide(tmp_path / "a.dcm")
    (tmp_path / "b.svs").write_bytes(bytes(200))
    result = export(store, ExportRequest(format="dicom", path=tmp_path / "out", head="lesion"))
    assert [file.path.name for file in result.files] == ["a.dcm.map.dcm", "a.dcm.ann.dcm"]
    (note,) = result.notes
    assert note.startswith("left out: 'b.svs' is no DICOM file") and note.endswith("(2 such slides)")
    with pytest.raises(ExportError, match=r"'b\.svs' is no DICOM file"):
        export(store, ExportRequest(format="dicom", path=tmp_path / "out", head="lesion", slides=("b.svs",)))
