"""A bounded number of slides stays open; one that cannot be read costs its requests, and not the service."""

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from embedstore.errors import RegionReadError, SlideFormatError, SlideNotFoundError
from embedstore.service.pictures import OpenSlides, SlideFile
from embedstore.service.pictures.open_slides import REFUSED_S
from embedstore.slides import Slide, open_slide
from embedstore.slides.slide import Pixels, SlideHeader


class ToySlide(Slide):
    """A slide without pixels, which counts how many are open."""

    open_now: set[str] = set()  # noqa: RUF012

    def __init__(self, path: str, **_: object):
        header = SlideHeader(level_sizes=[(10, 10)], level_downsamples=[1.0], mpp_xy=None, vendor="toy", properties={})
        super().__init__(path, header)
        self.open_now.add(path)

    def _fill(self, level: int, x: int, y: int, out: Pixels) -> None:
        out[:] = 0

    def close(self) -> None:
        self.open_now.discard(self.path)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def toy(name: str) -> SlideFile:
    return SlideFile(name=name, path=f"/secret/{name}")


@pytest.fixture
def clock():
    ToySlide.open_now.clear()
    return Clock()


def test_the_slides_that_were_asked_for_last_stay_open(clock):
    slides = OpenSlides(2, open_slide=ToySlide, clock=clock)
    for name in "abac":
        with slides.use(toy(name), "1"):
            pass
    assert ToySlide.open_now == {"/secret/a", "/secret/c"} and len(slides) == 2
    with slides.use(toy("a"), "1"), slides.use(toy("c"), "1"), slides.use(toy("d"), "1"):
        assert len(ToySlide.open_now) == 3  # none is closed under whoever reads it
    with slides.use(toy("e"), "1"):
        assert len(ToySlide.open_now) == 2
    slides.close()
    assert not ToySlide.open_now


def test_a_slide_that_nobody_asks_for_is_closed(clock):
    slides = OpenSlides(8, idle_s=60, open_slide=ToySlide, clock=clock)
    with slides.use(toy("a"), "1"):
        clock.now = 100
        slides.close_idle()
        assert ToySlide.open_now
    clock.now = 159
    slides.close_idle()
    assert ToySlide.open_now
    clock.now = 161
    slides.close_idle()
    assert not ToySlide.open_now and len(slides) == 0


def test_many_threads_open_a_slide_once(clock):
    opened, lock = [], threading.Lock()

    def slow(path: str, **options: object) -> Slide:
        with lock:
            opened.append(path)
        time.sleep(0.02)
        return ToySlide(path)

    slides = OpenSlides(2, open_slide=slow, clock=clock)

    def use(name: str) -> None:
        with slides.use(toy(name), "1") as deep_zoom:
            assert deep_zoom.slide.path == f"/secret/{name}"

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(use, ["a", "b"] * 8))
    assert sorted(opened) == ["/secret/a", "/secret/b"]


def test_a_damaged_slide_is_left_alone_for_a_while(clock):
    tries = []

    def fails(path: str, **options: object) -> Slide:
        tries.append(path)
        raise SlideFormatError(f"no reader opens slide {path!r}")

    slides = OpenSlides(open_slide=fails, clock=clock)

    def ask(stamp: str) -> None:
        with pytest.raises(SlideFormatError, match=r"no reader opens slide 'a'"), slides.use(toy("a"), stamp):
            pass

    for _ in range(3):
        ask("1")
    assert len(tries) == 1
    ask("2")  # the file was replaced
    assert len(tries) == 2
    clock.now = REFUSED_S + 1
    ask("1")
    assert len(tries) == 3 and len(slides) == 0


def test_an_error_that_is_not_of_the_slide_is_not_kept(clock):
    failing = [OSError("no process"), None]

    def opens(path: str, **options: object) -> Slide:
        if error := failing.pop(0):
            raise error
        return ToySlide(path)

    slides = OpenSlides(open_slide=opens, clock=clock)
    with pytest.raises(OSError, match="no process"), slides.use(toy("a"), "1"):
        pass
    with slides.use(toy("a"), "1") as deep_zoom:
        assert deep_zoom.slide.path == "/secret/a"


@pytest.mark.slow
def test_a_slide_whose_process_crashes_or_hangs_is_refused_and_others_are_not(drawn_slide: Path):
    path, other = str(drawn_slide()), str(drawn_slide("rgb"))
    slides = OpenSlides(open_slide=open_slide)
    damaged = SlideFile(name="a", path=path, reader="tiff")
    for how, words in ((signal.SIGKILL, "was killed"), (signal.SIGSTOP, "gave no answer within 0.3 s")):
        with pytest.raises(RegionReadError, match=words) as error, slides.use(damaged, words) as deep_zoom:
            process = deep_zoom.slide._process  # type: ignore[attr-defined]
            process.answer_s = 0.3
            os.kill(process._process.pid, how)
            deep_zoom.pixels(deep_zoom.grid.max_level, 0, 0)
        assert path not in str(error.value)
        with pytest.raises(RegionReadError, match=words), slides.use(damaged, words):
            pass
        with slides.use(SlideFile(name="b", path=other, reader="tiff"), "1") as deep_zoom:
            assert deep_zoom.pixels(0, 0, 0).shape == (1, 1, 3)
    slides.close()


@pytest.mark.slow
def test_a_slide_whose_process_was_killed_while_nobody_read_it_is_opened_again(drawn_slide: Path):
    slides, file = OpenSlides(), SlideFile(name="a", path=str(drawn_slide()), reader="tiff")
    for _ in range(2):
        with slides.use(file, "1") as deep_zoom:
            assert deep_zoom.pixels(0, 0, 0).shape == (1, 1, 3)
            process = deep_zoom.slide._process._process  # type: ignore[attr-defined]
        os.kill(process.pid, signal.SIGKILL)
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    slides.close()


def test_whoever_waits_for_a_slide_is_told_when_all_are_closed(drawn_slide: Path):
    slides, reading = OpenSlides(), threading.Event()

    def read() -> None:
        with slides.use(SlideFile(name="a", path=str(drawn_slide()), reader="tiff"), "1") as deep_zoom:
            os.kill(deep_zoom.slide._process._process.pid, signal.SIGSTOP)  # type: ignore[attr-defined]
            reading.set()
            deep_zoom.pixels(0, 0, 0)

    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(read)
        assert reading.wait(300)
        slides.close()
        with pytest.raises(RegionReadError, match=r"was killed|is closed"):  # as it comes before or after
            asked.result()


def test_the_stamp_follows_the_file(tmp_path: Path):
    path = tmp_path / "a.svs"
    path.write_bytes(b"1")
    file = SlideFile(name="P1", path=str(path))
    first = file.stamp()
    assert file.stamp() == first
    path.write_bytes(b"22")
    assert file.stamp() != first
    path.unlink()
    with pytest.raises(SlideNotFoundError, match="slide 'P1' is no longer where it was ingested from") as error:
        file.stamp()
    assert str(tmp_path) not in str(error.value)
