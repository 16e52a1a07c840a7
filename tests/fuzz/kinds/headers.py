"""Headers of slides, cut and with flipped bits, for each reader by its name; each is read in a process of its own."""

import importlib.util
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import strategies as st

from embedstore.slides.readers import open_slide
from tests.fuzz.kind import Kind
from tests.fuzz.kinds.pixels import PICTURE
from tests.fuzz.mutations import changed_bytes, changed_numbers
from tests.slides.drawings import write_dicom, write_scn, write_tiff

READERS = ["tiff", "openslide", "dicom", *(["fastslide"] if importlib.util.find_spec("fastslide") else [])]
#: fastslide waits for itself for ever on some damaged files: that is the library's own error, before the limit here.
ANSWER_S = 5.0
#: Bytes at a file's beginning and end in which formats keep their structure.
HEAD, TAIL = 1024, 4096


@cache
def _slides(reader: str) -> list[bytes]:
    with TemporaryDirectory() as name:
        folder = Path(name)
        if reader == "dicom":
            paths = [
                write_dicom(folder / f"{encoded}.dcm", PICTURE, encoded=encoded, tag=tag, table=table)
                for encoded, tag, table in (("ycbcr", "YBR_FULL_422", "basic"), ("raw", "RGB", "none"))
            ]
        else:
            paths = [
                write_tiff(folder / f"{colours}.tif", PICTURE, colours=colours, aperio=aperio, tile_px=64)
                for colours, aperio in (("ycbcr", True), ("rgb", True), ("lzw", False))
            ]
            paths.append(write_scn(folder / "a.scn", PICTURE, size=(400, 300), corner=(20, 10)))
        return [path.read_bytes() for path in paths]


@st.composite
def _cut_and_flipped(draw: st.DrawFn, seeds: st.SearchStrategy[bytes]) -> bytes:
    """Cut at times, and with some bits flipped near its ends."""
    data = bytearray(draw(seeds))
    for _ in range(draw(st.integers(1, 8))):
        near = draw(st.integers(0, HEAD)) if draw(st.booleans()) else len(data) - 1 - draw(st.integers(0, TAIL))
        if 0 <= near < len(data):
            data[near] ^= 1 << draw(st.integers(0, 7))
    return bytes(data[: draw(st.integers(0, len(data)))] if draw(st.integers(0, 3)) == 3 else data)


def _reader(name: str) -> Callable[[Path], Callable[[bytes], object]]:
    def make(folder: Path) -> Callable[[bytes], object]:
        def read(data: bytes) -> object:
            path = folder / ("slide.dcm" if name == "dicom" else "slide.tif")
            path.write_bytes(data)
            with open_slide(path, reader=name, answer_s=ANSWER_S) as slide:
                width, height = slide.level_sizes[-1]
                slide.read_region((0, 0), len(slide.level_sizes) - 1, (min(width, 256), min(height, 256)))
                return slide.read_region((0, 0), 0, (64, 64))

        return read

    return make


def _kind(name: str) -> Kind:
    made = st.deferred(lambda: st.sampled_from(_slides(name)))
    inputs = st.one_of(_cut_and_flipped(made), changed_numbers(made), changed_bytes(made))
    return Kind(name=f"header-{name}", inputs=inputs, reader=_reader(name), sample=30)


KINDS = [_kind(name) for name in READERS]
