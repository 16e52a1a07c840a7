"""Predictions as DICOM: a parametric map and bulk annotations that refer to the slide's image, by highdicom."""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embedstore.errors import ExportError
from embedstore.export.predictions.dicom_source import DicomSource, dicom_source
from embedstore.export.predictions.export_scope import ExportScope, attention_ranks
from embedstore.export.predictions.prediction_raster import ATTENTION, PredictionRaster, prediction_raster
from embedstore.labels.class_colours import class_colours
from embedstore.output_files import atomic_write
from embedstore.store import PredictionFacts
from embedstore.store.prediction_schema import decided_classes, probability_matrix
from embedstore.version import __version__

FRAME_PX = 512  # at most; a larger map is cut into frames
LABEL_BYTES, TEXT_BYTES = 16, 64  # of DICOM's short and long strings
#: Of the codes that classes of a head get, as no public vocabulary has them.
CODING_SCHEME = "99EMBEDSTORE"


def write_dicom(
    scope: ExportScope, slide_id: str, map_path: Path, annotations_path: Path, *, min_probability: float = 0.0
) -> tuple[int, int, list[str]]:
    """Write a head's predictions on a DICOM slide as a Parametric Map and as Microscopy Bulk Simple Annotations.

    Both belong to the study of the slide and lie in its frame of reference; patient and specimen are copied from it.
    Their UIDs follow from the content, so that the same predictions are the same objects wherever they are sent.

    - The map has a pixel for each tile, centred on it, and a frame for each class: its probability, 0 to 1, as float32;
      NaN where there is no tile. Of a head for slides or patients, attention as ranks within the slide.
    - The annotations have a group for each class, with the squares of the tiles that it was decided on, in pixels of
      the finest level, and the probability of the class as a measurement.

    Args:
        scope: The head and its slides.
        slide_id: One of them, a DICOM slide.
        map_path: File of the map.
        annotations_path: File of the annotations; it is not written where no tile has a class.
        min_probability: Annotations: leave out tiles whose class has a smaller probability.
    Returns:
        How many tiles are in the map, how many annotations were written, and notes for the user.
    Raises:
        ExportError: highdicom is not installed, the head has no values for tiles, they lie on no grid, or the slide's
            file lacks what places them.
    """
    _highdicom()
    facts, table = scope.head_facts("dicom"), scope.tile_values("dicom")
    raster = prediction_raster(scope, slide_id)
    rows = table.table(slides=[slide_id])
    source = dicom_source(scope.slides[slide_id])
    notes = [source.note] if source.note else []
    try:
        mapped = _parametric_map(source, raster)
        annotated = _annotations(source, facts, rows, min_probability)
    except Exception as error:  # of highdicom, about attributes of the slide
        raise ExportError(f"slide {slide_id!r}: highdicom cannot refer to its file: {error}") from error
    _save(mapped, map_path)
    if annotated is None:
        annotations_path.unlink(missing_ok=True)
        return len(rows), 0, [*notes, f"slide {slide_id!r}: no tile has a class, so there are no annotations"]
    _save(annotated, annotations_path)
    return len(rows), sum(group.NumberOfAnnotations for group in annotated.AnnotationGroupSequence), notes


def _highdicom() -> Any:
    try:
        import highdicom
    except ImportError as error:
        raise ExportError(
            'DICOM files need the package highdicom, which is not installed; pip install "embedstore[dicom]"'
        ) from error
    return highdicom


def _save(written: Any, path: Path) -> None:
    with atomic_write(path) as part:
        written.save_as(part)


def _parametric_map(source: DicomSource, raster: PredictionRaster) -> Any:
    hd, codes = _highdicom(), _codes()
    step, edge = raster.step_l0, raster.edge_l0
    corner = np.array(raster.origin_l0)
    first = source.on_slide((corner + edge / 2)[None])[0]  # the centre of the first tile
    rows, columns = raster.decided.shape
    quantity = codes.cid7180.Saliency if raster.planes == (ATTENTION,) else codes.DCM.Probability
    mappings = [
        hd.pm.RealWorldValueMapping(
            lut_label=label,
            lut_explanation=_text(_explanation(name)),
            unit=codes.UCUM.NoUnits,
            value_range=(0.0, 1.0),
            slope=1.0,
            intercept=0.0,
            quantity_definition=quantity,
        )
        for name, label in zip(raster.planes, _labels(raster.planes), strict=True)
    ]
    content = (np.array([*raster.origin_l0, step, edge]), raster.values, *map(str.encode, raster.planes))
    pixels = np.ascontiguousarray(np.moveaxis(raster.values, 0, -1)[None])  # (1, rows, columns, classes)
    mapped = hd.pm.ParametricMap(
        source_images=[source.header],
        pixel_array=pixels,
        real_world_value_mappings=[[mapping] for mapping in mappings],
        voi_lut_transformations=[hd.VOILUTTransformation(window_center=0.5, window_width=1.0)],
        contains_recognizable_visual_features=False,
        content_qualification="RESEARCH",
        content_label="PROBABILITY" if raster.level == "tile" else "ATTENTION",
        content_description=_text(f"head {raster.head}"),
        pixel_measures=hd.PixelMeasuresSequence(
            pixel_spacing=[spacing * step for spacing in source.spacing_mm], slice_thickness=_thickness(source)
        ),
        plane_orientation=hd.PlaneOrientationSequence("SLIDE", source.orientation),
        plane_positions=[hd.PlanePositionSequence("SLIDE", first.tolist(), (1, 1))],
        tile_pixel_array=True,
        tile_size=(min(rows, FRAME_PX), min(columns, FRAME_PX)),
        **_identity(source, raster.head, raster.head_digest, "map", content),
    )
    mapped.FloatPixelPaddingValue = float("nan")
    return mapped


def _annotations(source: DicomSource, facts: PredictionFacts, rows: pa.Table, min_probability: float) -> Any:
    """The annotations, or None where there are none."""
    hd, codes = _highdicom(), _codes()
    x, y, edge = (rows[name].to_numpy().astype(np.float32) for name in ("x", "y", "edge_l0"))
    squares = np.stack([x, y, x + edge, y, x + edge, y + edge, x, y + edge], axis=1).reshape(-1, 4, 2)
    algorithm = hd.AlgorithmIdentificationSequence(
        name=_text(facts.head),
        family=codes.DCM.ArtificialIntelligence,
        version=_text(facts.head_digest),
        source="embedstore",
    )
    groups: list[Any] = []
    parts: list[Any] = []
    for name, label, values, chosen in _groups(facts, rows, min_probability):
        if not chosen.any():
            continue
        colour = class_colours(facts.classes, facts.positive).get(name)
        quantity = codes.cid7180.Saliency if colour is None else codes.DCM.Probability
        parts += [name.encode(), squares[chosen], values[chosen]]
        groups.append(
            hd.ann.AnnotationGroup(
                number=len(groups) + 1,
                uid=_uid(source, facts.head_digest, "group", parts[-3:]),
                label=_text(name),
                description=_explanation(name),
                annotated_property_category=codes.SCT.Tissue,
                annotated_property_type=hd.sr.CodedConcept(label, CODING_SCHEME, _text(name)),
                graphic_type="POLYGON",
                graphic_data=list(squares[chosen]),
                algorithm_type="AUTOMATIC",
                algorithm_identification=algorithm,
                measurements=[hd.ann.Measurements(quantity, values[chosen], codes.UCUM.NoUnits)],
                display_color=hd.color.CIELabColor.from_rgb(*colour) if colour else None,
            )
        )
    if not groups:
        return None
    return hd.ann.MicroscopyBulkSimpleAnnotations(
        source_images=[source.header],
        annotation_coordinate_type="2D",
        annotation_groups=groups,
        content_label="TILES",
        content_description=_text(f"head {facts.head}"),
        **_identity(source, facts.head, facts.head_digest, "annotations", parts),
    )


def _groups(
    facts: PredictionFacts, rows: pa.Table, min_probability: float
) -> Iterator[tuple[str, str, NDArray[np.float32], NDArray[np.bool_]]]:
    """Each class with its label, the measurement of each tile, and which tiles have it; or attention of all tiles."""
    if facts.level != "tile":
        ranks = attention_ranks(rows[ATTENTION].to_numpy()).astype(np.float32)
        yield ATTENTION, ATTENTION, ranks, np.ones(len(ranks), bool)
        return
    probabilities, decided = probability_matrix(facts, rows), decided_classes(facts, rows)
    for i, (name, label) in enumerate(zip(facts.classes, _labels(facts.classes), strict=True)):
        yield name, label, probabilities[:, i], decided[:, i] & (probabilities[:, i] >= min_probability)


def _identity(source: DicomSource, head: str, digest: str, kind: str, content: Sequence[Any]) -> dict[str, Any]:
    """What names an object: its series, itself, and what made it."""
    return {
        "series_instance_uid": _uid(source, digest, f"series of {kind}", ()),
        "series_number": 1,
        "series_description": _text(f"embedstore: {kind} of head {head}"),
        "sop_instance_uid": _uid(source, digest, kind, content),
        "instance_number": 1,
        "manufacturer": "embedstore",
        "manufacturer_model_name": "embedstore export",
        "software_versions": __version__,
        "device_serial_number": _text(digest),
        "specific_character_set": "ISO_IR 192",  # UTF-8, for the names of classes
    }


def _uid(source: DicomSource, digest: str, kind: str, content: Sequence[Any]) -> str:
    from pydicom.uid import generate_uid

    hashed = hashlib.sha256()
    for part in content:
        hashed.update(part.tobytes() if isinstance(part, np.ndarray) else part)
    return generate_uid(entropy_srcs=[str(source.header.SOPInstanceUID), digest, kind, hashed.hexdigest()])


def _labels(classes: Sequence[str]) -> list[str]:
    """The names of classes, cut to a short string where they are longer, but different from each other."""
    labels: list[str] = []
    for number, name in enumerate(map(_text, classes), start=1):
        cut = _text(name, LABEL_BYTES)
        labels.append(cut if cut == name else f"{_text(name, LABEL_BYTES - 1 - len(str(number)))}~{number}")
    return labels


def _text(given: str, room: int = TEXT_BYTES) -> str:
    """A text cut to a long string of DICOM, in which a backslash would separate values.

    The standard counts characters, but pydicom warns by the bytes of UTF-8.
    """
    return given.replace("\\", "/").encode()[:room].decode(errors="ignore")


def _explanation(name: str) -> str:
    return "attention, rank within the slide" if name == ATTENTION else f"probability of {name}"


def _thickness(source: DicomSource) -> float | None:
    measures = source.header.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    return float(measures.SliceThickness) if measures.get("SliceThickness") else None


def _codes() -> Any:
    from pydicom.sr.codedict import codes

    return codes
