"""A slide is read in another process, whose end costs the slide alone."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from embedstore.errors import RegionReadError, SlideFormatError, SlideNotFoundError
from embedstore.slides import Slide, find_slides, open_slide, read_image_apart
from embedstore.slides.readers import slide_process
from embedstore.slides.readers.opening import open_here
from embedstore.slides.slide import MOST_EDGE_PX, SlideHeader
from tests.marks import slow
from tests.slides.drawings import tissue_picture, write_dicom

#: How a process begins in which opening a slide does something else.
WITH = """
import sys, time
sys.path[:] = sys.argv[3:]
from embedstore.slides.readers import slide_server
slide_server.MOST_CPU_S = 1
def open_here(path, reader):
    {deed}
slide_server.open_here = open_here
slide_server.serve(int(sys.argv[1]), int(sys.argv[2]))
"""


@pytest.fixture
def fresh(monkeypatch):
    """No process waits from an earlier test."""
    monkeypatch.setattr(slide_process, "_idle", [])


@pytest.mark.parametrize(
    ("deed", "message"),
    [
        (
            "import os; os.abort()",
            r"the process that opened it crashed \(Aborted\); the file is damaged, or a decoder has a bug",
        ),
        slow("import os; os._exit(7)", "ended with exit code 7"),
        slow("while True: pass", "took more than 60 s of CPU time"),
        slow("bytes(32 << 30)", "cannot be opened: MemoryError"),
        ("raise ZeroDivisionError('deep inside')", "cannot be opened: ZeroDivisionError: deep inside"),
    ],
)
def test_what_a_file_does_to_its_process_is_an_error_of_the_slide(fresh, monkeypatch, drawn_slide, deed, message):
    with monkeypatch.context() as patch:
        patch.setattr(slide_process, "CODE", WITH.format(deed=deed))
        with pytest.raises(SlideFormatError, match=message):
            open_slide(drawn_slide())
    monkeypatch.setattr(slide_process, "_idle", [])
    with open_slide(drawn_slide()) as slide:
        assert slide.reader == "tiff"


@pytest.mark.slow
def test_a_process_that_does_not_answer_is_not_waited_for(fresh, monkeypatch, drawn_slide):
    monkeypatch.setattr(slide_process, "CODE", WITH.format(deed="time.sleep(10_000)"))
    monkeypatch.setattr(slide_process, "ANSWER_S", 0.1)
    with pytest.raises(SlideFormatError, match=r"gave no answer within 0\.1 s"):
        open_slide(drawn_slide())


@pytest.mark.slow
def test_a_decoder_that_waits_for_itself_is_given_up_sooner(fresh, monkeypatch, drawn_slide):
    """fastslide does on some damaged files; it takes no CPU time then, which has a limit."""
    monkeypatch.setattr(slide_process, "CODE", WITH.format(deed="time.sleep(10_000)"))
    monkeypatch.setattr(slide_process, "FASTSLIDE_ANSWER_S", 0.1)
    with pytest.raises(SlideFormatError, match=r"gave no answer within 0\.1 s"):
        open_slide(drawn_slide(), reader="fastslide")


def test_a_crash_in_a_region_ends_the_slide_and_no_other(drawn_slide):
    with open_slide(drawn_slide()) as other, open_slide(drawn_slide()) as slide:
        os.kill(slide._process._process.pid, signal.SIGSEGV)
        for _ in range(2):
            with pytest.raises(RegionReadError, match=r"4×5 px at 1,2 of level 0 crashed \(Segmentation fault"):
                slide.read_region((1, 2), 0, (4, 5))
        assert other.read_region((0, 0), 0, (4, 4)).shape == (4, 4, 3)


@pytest.mark.slow
def test_a_process_reads_one_slide_after_another_unless_it_ended(fresh, drawn_slide):
    pids = []
    for _ in range(2):
        with open_slide(drawn_slide()) as slide:
            pids.append(slide._process._process.pid)
    assert pids[0] == pids[1]
    os.kill(pids[0], signal.SIGKILL)  # as a system does that runs out of memory
    os.waitid(os.P_PID, pids[0], os.WEXITED | os.WNOWAIT)
    with open_slide(drawn_slide()) as slide:
        assert slide._process._process.pid != pids[0]
    with open_slide(drawn_slide()) as one, open_slide(drawn_slide()) as other:
        assert one._process is not other._process


@pytest.mark.slow
def test_a_slide_can_be_read_behind_other_work(fresh, drawn_slide):
    with open_slide(drawn_slide(), niceness=5) as slide, open_slide(drawn_slide()) as other:
        nice, usual = (os.getpriority(os.PRIO_PROCESS, each._process._process.pid) for each in (slide, other))
    assert nice == max(5, usual)


#: How a process begins in which decoding an image does something else.
WITH_DECODE = """
import sys, time
sys.path[:] = sys.argv[3:]
from embedstore.slides.readers import slide_server
def decode(self, source, most_px):
    {deed}
slide_server._Server.decode = decode
slide_server.serve(int(sys.argv[1]), int(sys.argv[2]))
"""


@pytest.mark.parametrize(
    ("deed", "message"),
    [
        ("import os; os.abort()", r"the image: the process that decoded it crashed \(Aborted\); save it again"),
        ("time.sleep(10_000)", "gave no answer within 0.5 s"),
        slow("raise ValueError", "ended with exit code 1"),
    ],
)
def test_what_an_image_does_to_its_process_is_an_error(fresh, monkeypatch, deed, message):
    monkeypatch.setattr(slide_process, "CODE", WITH_DECODE.format(deed=deed))
    process = slide_process._SlideProcess()
    monkeypatch.setattr(slide_process, "_idle", [process])
    with pytest.raises(RegionReadError, match=message):
        read_image_apart(b"image", answer_s=0.5 if "sleep" in deed else 300)
    assert not process.usable


@pytest.mark.slow
def test_an_image_that_was_sent_ends_its_process_and_a_file_does_not(fresh, tmp_path):
    pixels = tissue_picture(30, 20)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image_apart(tmp_path / "a.png"), pixels)
    assert len(slide_process._idle) == 1
    np.testing.assert_array_equal(read_image_apart((tmp_path / "a.png").read_bytes()), pixels)
    assert slide_process._idle == []
    with pytest.raises(RegionReadError, match=r"b.png' cannot be read: No such file"):
        read_image_apart(tmp_path / "b.png")


def test_regions_are_those_of_the_reader(drawn_slide):
    path = drawn_slide()
    with open_slide(path) as slide, open_here(str(path)) as here:
        given = np.empty((200, 300, 3), np.uint8)
        for xy_l0 in ((0, 0), (100, 50), (-20, 400), (600, -7)):
            expected = here.read_region(xy_l0, 0, (300, 200))
            assert slide.read_region(xy_l0, 0, (300, 200), out=given) is given
            np.testing.assert_array_equal(given, expected)
            np.testing.assert_array_equal(slide.read_region(xy_l0, 0, (300, 200)), expected)
        whole = slide.read_region((0, 0), 0, slide.size_l0)
        np.testing.assert_array_equal(whole, here.read_region((0, 0), 0, here.size_l0))
        np.testing.assert_array_equal(given, expected)  # the larger region left it alone


@pytest.mark.parametrize("downsample", ["area", "dct"])
def test_squares_are_those_of_the_reader_however_many_are_asked_for_at_once(drawn_slide, monkeypatch, downsample):
    path = drawn_slide()
    corners = np.array([(0, 0), (100, 50), (-20, 400), (600, -7)])
    with open_slide(path) as slide, open_here(str(path)) as here:
        assert slide.reductions == here.reductions
        expected, together, apart = (np.empty((len(corners), 64, 64, 3), np.uint8) for _ in range(3))
        given = {"edge_l0": 128, "downsample": downsample}
        assert here.read_squares(corners, 0, out=expected, **given) == [None] * len(corners)
        slide.read_squares(corners, 0, out=together, **given)
        monkeypatch.setattr(slide_process, "MOST_SQUARES_PX", 1)
        slide.read_squares(corners, 0, out=apart, **given)
        np.testing.assert_array_equal(together, expected)
        np.testing.assert_array_equal(apart, expected)


@pytest.mark.parametrize(
    ("sizes", "properties", "message"),
    [
        ([(MOST_EDGE_PX + 1, 10)], {}, r"level 0 is said to have 1048577×10 px"),
        ([(600_000, 600_000)], {}, "damaged"),
        ([(100, 100), (0, 50)], {}, "level 1 is said to have 0×50 px"),
        ([(40_000, 40_000)], {"tile-width": "32768", "tile-height": "32768"}, r"tiles of 32768×32768 px; expected"),
    ],
)
def test_sizes_that_no_scanner_makes_are_refused_before_anything_is_decoded(sizes, properties, message):
    class Stated(Slide):
        _fill = close = None  # type: ignore[assignment]

    header = SlideHeader(
        level_sizes=sizes,
        level_downsamples=[1.0, 2.0][: len(sizes)],
        mpp_xy=None,
        vendor="generic-tiff",
        properties={f"openslide.level[0].{name}": value for name, value in properties.items()},
    )
    with pytest.raises(SlideFormatError, match=message):
        Stated("a.tif", header)


def test_what_is_no_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.svs")
    for path in (tmp_path / "a.svs", "/dev/zero"):
        with pytest.raises(SlideFormatError, match="is a pipe or a device; expected a file"):
            open_slide(path)
    with pytest.raises(SlideNotFoundError):
        open_slide("a\0.svs")


def test_a_broken_header_of_dicom_costs_its_file_alone(tmp_path):
    path = write_dicom(tmp_path / "a.dcm", tissue_picture(64, 64))
    kind = b"\x08\x00\x16\x00UI"  # of its storage class
    (tmp_path / "b.dcm").write_bytes(path.read_bytes().replace(kind, kind[:4] + b"QI"))
    assert [slide.slide_id for slide in find_slides([tmp_path]).sources] == ["a.dcm", "b.dcm"]
    with open_slide(path, reader="dicom") as slide:
        assert slide.size_l0 == (64, 64)


def test_a_file_in_a_closed_folder_is_one_sentence(tmp_path, monkeypatch):
    def denied(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "exists", denied)
    with pytest.raises(SlideFormatError, match="cannot be read: Permission denied"):
        open_slide(tmp_path / "a.svs")


@pytest.mark.slow
def test_a_relative_path_is_one_of_the_working_folder_of_now(fresh, monkeypatch, tmp_path, drawn_slide):
    """A process that waited was started in another folder, where a slide of that name may be as well."""
    for folder in ("first", "second"):
        (tmp_path / folder).mkdir()
    drawn = Path(drawn_slide())
    (tmp_path / "first" / drawn.name).write_bytes(drawn.read_bytes())
    Image.new("RGB", (40, 30), "white").save(tmp_path / "second" / "image.png")
    monkeypatch.chdir(tmp_path / "first")
    with open_slide(drawn.name) as slide:
        assert slide.path == drawn.name
    monkeypatch.chdir(tmp_path / "second")
    assert read_image_apart("image.png").shape == (30, 40, 3)
    with pytest.raises(SlideNotFoundError):
        open_slide(drawn.name)
