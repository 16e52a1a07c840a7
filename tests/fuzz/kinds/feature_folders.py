"""Folders of vectors as LazySlide, tiatoolbox and slideflow write them, of which a file at a time is changed."""

import json
import shutil
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import strategies as st

from embedstore.layouts import FeatureConfig, SlideFacts, TileFacts, look_apart, open_apart, place_tiles
from tests.fuzz.kind import Kind
from tests.fuzz.mutations import as_json, changed_bytes, changed_numbers, changed_tree
from tests.layouts.test_slideflow import write_bag
from tests.layouts.zarr_folders import write_lazyslide, write_tiatoolbox

WANTED = TileFacts(extractor="uni", dim=8, tile_px=256, mpp=0.5)
KNOWN = SlideFacts(mpp=0.25)

#: How each is written, and the files of it that are changed.
FOLDERS: Mapping[str, tuple[Callable[[Path], object], tuple[str, ...]]] = {
    "lazyslide": (
        lambda folder: write_lazyslide(folder / "a.zarr"),
        (
            "a.zarr/zarr.json", "a.zarr/tables/uni_tiles/zarr.json", "a.zarr/tables/uni_tiles/X/zarr.json",
            "a.zarr/tables/uni_tiles/X/c/0/0", "a.zarr/tables/uni_tiles/obs/tile_id/zarr.json",
            "a.zarr/shapes/tiles/shapes.parquet",
        ),
    ),
    "tiatoolbox": (
        lambda folder: write_tiatoolbox(folder / "a.zarr", edge_px=256),
        ("a.zarr/probabilities/.zarray", "a.zarr/coordinates/.zarray", "a.zarr/coordinates/0.0"),
    ),
    "slideflow": (lambda folder: write_bag(folder, "a"), ("bags_config.json", "a.index.npz", "a.pt")),
}  # fmt: skip


@cache
def _files(layout: str) -> dict[str, bytes]:
    write, names = FOLDERS[layout]
    with TemporaryDirectory() as folder:
        write(Path(folder))
        return {name: Path(folder, name).read_bytes() for name in names}


def _changed(layout: str) -> st.SearchStrategy[bytes]:
    """A file with changes, after its number."""

    def changed(at: int) -> st.SearchStrategy[bytes]:
        data = list(_files(layout).values())[at]
        ways = changed_bytes(st.just(data)) | changed_numbers(st.just(data))
        if data[:1] == b"{":
            ways = ways | as_json(changed_tree(st.just(json.loads(data))))
        return ways.map(lambda new: bytes([at]) + new)

    return st.deferred(lambda: st.integers(0, len(FOLDERS[layout][1]) - 1).flatmap(changed))


def _reader(layout: str) -> Callable[[Path], Callable[[bytes], object]]:
    def in_folder(place: Path) -> Callable[[bytes], object]:
        FOLDERS[layout][0](place / "whole")
        names = list(_files(layout))

        def read(data: bytes) -> object:
            folder = Path(shutil.copytree(place / "whole", place / "changed"))
            try:
                (folder / names[data[0]]).write_bytes(data[1:])
                entries = look_apart(folder, layout, None)[1]
                for entry in entries:
                    with open_apart(layout, entry, KNOWN, answer_s=5.0) as features:
                        place_tiles("a", features, FeatureConfig(mpp=0.5), KNOWN, WANTED)
                        features.read(0, features.facts.tiles)
            finally:
                shutil.rmtree(folder)

        return read

    return in_folder


KINDS = [Kind(name=layout, inputs=_changed(layout), reader=_reader(layout), sample=100) for layout in FOLDERS]
