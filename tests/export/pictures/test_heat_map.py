"""Heat maps lie on the tissue that they speak of, to the pixel."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from embedstore.errors import ExportError
from embedstore.export import draw_class_map, draw_heat_map, export_scope, write_heat_map
from embedstore.export.pictures.heat_map import ALPHA, LUMA, box_sums, colour_table, tile_boxes
from embedstore.export.predictions.export_scope import attention_ranks
from embedstore.export.predictions.heat_map_sheet import MARGIN_PX, TITLE_PX, round_length
from embedstore.slides import Thumbnail, open_slide
from embedstore.store import Store
from tests.export.prediction_scene import EDGE, grid, make_store
from tests.marks import examples
from tests.slides.drawings import write_tiff
from tests.store.predicted import facts, predict, predict_slides, two

RED = (200, 0, 0)


def paper(width: int, height: int, *, origin=(0, 0), scale=(1.0, 1.0), colour=(255, 255, 255)) -> Thumbnail:
    return Thumbnail(
        pixels=np.full((height, width, 3), colour, np.uint8),
        unread=np.zeros((height, width), bool),
        origin_l0=origin,
        scale_l0=scale,
        mpp=1.0,
    )


def painted(value: float, grey: float = 255.0) -> np.ndarray:
    """What a pixel of a grey must look like under the paint of a value."""
    return np.rint((1 - ALPHA) * grey + ALPHA * colour_table()[round(value * 255)].astype(float)).astype(np.uint8)


# -- painting -------------------------------------------------------------------------------


def test_paint_lies_where_the_tile_does_and_nowhere_else():
    picture = paper(40, 30, origin=(1000, 2000), scale=(8.0, 8.0))
    drawn = draw_heat_map(picture, np.array([[1080, 2040]]), 64, np.array([0.5]))
    where = (drawn != 255).any(axis=2)
    assert np.argwhere(where).min(axis=0).tolist() == [5, 10]
    assert where.sum() == 64 and where[5:13, 10:18].all()
    assert (drawn[where] == painted(0.5)).all()


def test_tissue_shows_through_in_grey():
    drawn = draw_heat_map(paper(4, 4, colour=(200, 100, 150)), np.array([[0, 0]]), 2, np.array([1.0]))
    assert (drawn[:2, :2] == painted(1.0, grey=float(np.dot((200, 100, 150), LUMA)))).all()
    assert (drawn[2:] == (200, 100, 150)).all()


def test_overlapping_tiles_are_averaged():
    drawn = draw_heat_map(paper(6, 2), np.array([[0, 0], [2, 0]]), 4, np.array([0.0, 1.0]))
    assert (drawn[:, :2] == painted(0)).all() and (drawn[:, 2:4] == painted(0.5)).all()
    assert (drawn[:, 4:] == painted(1)).all()


def test_tiles_without_a_value_are_left_bare():
    drawn = draw_heat_map(paper(8, 4), np.array([[0, 0], [4, 0]]), 4, np.array([np.nan, 0.3]))
    assert (drawn[:, :4] == 255).all() and (drawn[:, 4:] != 255).any()


def test_neighbours_leave_no_gap_at_any_scale_and_small_tiles_are_seen():
    corners = np.array(grid(20, 20, at=(7, 3), edge=13))
    drawn = draw_heat_map(paper(38, 38, scale=(7.3, 7.3)), corners, 13, np.ones(400))
    where = (drawn != 255).any(axis=2)
    first, last = np.argwhere(where).min(axis=0), np.argwhere(where).max(axis=0)
    assert where[first[0] : last[0] + 1, first[1] : last[1] + 1].all()
    dot = draw_heat_map(paper(10, 10, scale=(100.0, 100.0)), np.array([[420, 620]]), 8, np.ones(1))
    assert np.argwhere((dot != 255).any(axis=2)).tolist() == [[6, 4]]


@settings(max_examples=examples(60), deadline=None)
@given(
    tiles=st.lists(
        st.tuples(st.integers(-50, 130), st.integers(-50, 110), st.integers(1, 60), st.floats(0, 1)), max_size=12
    ),
    scale=st.floats(0.7, 9),
)
def test_sums_equal_those_of_a_plain_loop(tiles, scale):
    picture = paper(17, 13, origin=(5, 9), scale=(scale, scale))
    xy = np.array([tile[:2] for tile in tiles], np.int32).reshape(-1, 2)
    edge, values = np.array([tile[2] for tile in tiles], np.int32), np.array([tile[3] for tile in tiles])
    boxes = tile_boxes(picture, xy, edge)
    expected = np.zeros((13, 17))
    for (left, top, right, bottom), value in zip(boxes, values, strict=True):
        expected[top:bottom, left:right] += value
    np.testing.assert_allclose(box_sums((13, 17), boxes, values), expected, atol=1e-9)


def test_classes_are_shown_by_the_most_votes():
    xy = np.array([[0, 0], [2, 0], [8, 0]])
    votes = np.array([[0.9, 0, 0], [0, 0.6, 0], [0, 0, 0]])
    drawn = draw_class_map(paper(12, 2), xy, 4, votes, [RED, (0, 0, 200), (0, 0, 0)])
    first, second = (np.rint(0.4 * 255 + 0.6 * np.array(c)).astype(np.uint8) for c in (RED, (0, 0, 200)))
    assert (drawn[:, :4] == first).all() and (drawn[:, 4:6] == second).all()
    assert (drawn[:, 6:] == 255).all()


def test_ranks_share_their_place_and_end_at_one():
    assert attention_ranks(np.array([3.0, 1.0, 3.0, 9.0, 2.0])).tolist() == [0.625, 0.0, 0.625, 1.0, 0.25]
    assert attention_ranks(np.array([7.0])).tolist() == [1.0]


@pytest.mark.parametrize(("most", "found"), [(1.0, 1), (0.99, 0.5), (0.21, 0.2), (4.9, 2), (70, 50), (0.0013, 0.001)])
def test_a_scale_bar_has_a_round_length(most, found):
    assert round_length(most) == pytest.approx(found)


# -- sheets ---------------------------------------------------------------------------------


LESION = (400, 320, 656, 576)  # left, top, right, bottom, level-0 pixels
BOUNDS = (272, 192, 640, 512)  # x, y, width, height: the part of the slide that OpenSlide says holds an image


@pytest.fixture
def lesion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A slide with a red square, its image away from the corner of level 0; a tile for each quarter of the square."""
    picture = np.full((832, 1024, 3), 240, np.uint8)
    picture[LESION[1] : LESION[3], LESION[0] : LESION[2]] = RED
    write_tiff(tmp_path / "a.tiff", picture, colours="deflate", aperio=False)

    def cropped(path, *, reader):
        slide = open_slide(path, reader=reader)
        names = ("x", "y", "width", "height")
        slide.properties.update({f"openslide.bounds-{n}": str(v) for n, v in zip(names, BOUNDS, strict=True)})
        return slide

    monkeypatch.setattr("embedstore.export.predictions.heat_map_sheet.open_slide", cropped)
    store = make_store(tmp_path, {"a.tiff": grid(2, 2, at=LESION[:2])})
    bounds = dict(zip(("bounds_x", "bounds_y", "bounds_width", "bounds_height"), BOUNDS, strict=True))
    row = store.ledger.slides()[0].as_record() | bounds
    store.ledger._slides.upsert("slide_id", [row])
    return store


def map_of(store: Store, path: Path, size: tuple[int, int], head: str = "lesion", **options) -> np.ndarray:
    """The part of the sheet that is the slide."""
    note = write_heat_map(export_scope(store, head=head), "a.tiff", path, **options)
    assert note is None
    with Image.open(path) as sheet:
        return np.asarray(sheet.convert("RGB"))[TITLE_PX : TITLE_PX + size[1], MARGIN_PX : MARGIN_PX + size[0]]


@pytest.mark.slow
@pytest.mark.parametrize("shrink", [1, 2])
def test_the_map_lies_on_the_lesion_to_the_pixel(lesion: Store, tmp_path: Path, shrink: int):
    predict(lesion, facts(), {"a.tiff": two([1.0] * 4)})
    size = BOUNDS[2] // shrink, BOUNDS[3] // shrink
    drawn = map_of(lesion, tmp_path / "map.png", size, picture_px=size[0])
    left, top, right, bottom = ((at - BOUNDS[i % 2]) // shrink for i, at in enumerate(LESION))
    inside = np.zeros(drawn.shape[:2], bool)
    inside[top:bottom, left:right] = True
    assert (drawn[inside] == painted(1.0, grey=200 * LUMA[0])).all()
    elsewhere = ~inside
    elsewhere[int(drawn.shape[0] * 0.85) :, : drawn.shape[1] // 2] = False  # the scale bar
    assert (drawn[elsewhere] == 240).all()


def test_a_map_of_a_class_shows_that_class(lesion: Store, tmp_path: Path):
    predict(lesion, facts(), {"a.tiff": two([1.0, 1.0, 0.0, 0.0])})
    grey, corner = 200 * LUMA[0], (LESION[1] - BOUNDS[1], LESION[0] - BOUNDS[0])
    for options, first in (({}, 1.0), ({"of_class": "normal"}, 0.0)):
        drawn = map_of(lesion, tmp_path / "map.png", BOUNDS[2:], **options)
        assert (drawn[corner] == painted(first, grey)).all()
        assert (drawn[corner[0] + EDGE, corner[1]] == painted(1 - first, grey)).all()
    with pytest.raises(ExportError, match="no class 'fat'; it has normal, tumour"):
        map_of(lesion, tmp_path / "map.png", BOUNDS[2:], of_class="fat")


def test_a_map_of_more_classes_shows_the_one_decided_on(lesion: Store, tmp_path: Path):
    from embedstore.labels.class_colours import class_colours

    made = facts(head="kinds", classes=("a", "b", "c"), positive=None, thresholds={})
    predict(lesion, made, {"a.tiff": np.eye(3, dtype=np.float32)[[0, 1, 2, 2]] * 0.7 + 0.1})
    drawn = map_of(lesion, tmp_path / "map.png", BOUNDS[2:], head="kinds")
    colours = list(class_colours(made.classes).values())
    for (x, y), number in zip(grid(2, 2, at=LESION[:2]), (0, 1, 2, 2), strict=True):
        mixed = np.rint((1 - ALPHA) * 200 * LUMA[0] + ALPHA * np.array(colours[number])).astype(int)
        pixel = drawn[y - BOUNDS[1] + 5, x - BOUNDS[0] + 5].astype(int)
        assert abs(pixel - mixed).max() <= 1


def test_a_map_of_a_head_for_slides_shows_ranks_of_attention(lesion: Store, tmp_path: Path):
    made = facts(head="grade", level="slide")
    predict_slides(lesion, made, {"a.tiff": two([0.9])[0]}, {"a.tiff": np.array([1e-6, 3e-6, 2e-6, 9e-6])})
    drawn = map_of(lesion, tmp_path / "map.png", BOUNDS[2:], head="grade")
    for (x, y), rank in zip(grid(2, 2, at=LESION[:2]), (0, 2 / 3, 1 / 3, 1), strict=True):
        pixel = drawn[y - BOUNDS[1] + 5, x - BOUNDS[0] + 5].astype(int)
        assert abs(pixel - painted(rank, 200 * LUMA[0]).astype(int)).max() <= 1
    with pytest.raises(ExportError, match=r"'grade' gives no tile a class.*--class"):
        write_heat_map(export_scope(lesion, head="grade"), "a.tiff", tmp_path / "map.png", of_class="tumour")


def test_a_slide_that_is_not_at_hand_is_drawn_on_paper_of_its_size(lesion: Store, tmp_path: Path):
    predict(lesion, facts(), {"a.tiff": two([1.0] * 4)})
    (tmp_path / "a.tiff").unlink()
    note = write_heat_map(export_scope(lesion, head="lesion"), "a.tiff", tmp_path / "map.png", picture_px=320)
    assert note is not None and "'a.tiff' is not at" in note and "blank paper" in note
    with Image.open(tmp_path / "map.png") as sheet:
        drawn = np.asarray(sheet.convert("RGB"))[TITLE_PX : TITLE_PX + 256, MARGIN_PX : MARGIN_PX + 320]
    where = (drawn == painted(1.0, 245)).all(axis=2)
    left, top, right, bottom = ((at - BOUNDS[i % 2]) // 2 for i, at in enumerate(LESION))
    assert where.sum() == (right - left) * (bottom - top) and where[top:bottom, left:right].all()


def test_a_slide_that_cannot_be_read_is_drawn_on_paper(lesion: Store, tmp_path: Path):
    predict(lesion, facts(), {"a.tiff": two([1.0] * 4)})
    (tmp_path / "a.tiff").write_bytes(b"torn")
    note = write_heat_map(export_scope(lesion, head="lesion"), "a.tiff", tmp_path / "map.png")
    assert note is not None and "cannot be read: drawn on blank paper" in note
