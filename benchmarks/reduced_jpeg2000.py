"""What reduced decoding of JPEG 2000 does to pixels, embeddings and neighbours, beside averaging the pixels.

    python benchmarks/reduced_jpeg2000.py SLIDE --data ../shared/data

`slide`: the tiles of a slide as its scanner compressed them, 2×2 of them in a square: decoded whole and averaged to
half the edge, and decoded at half. `camelyon16` and `mitosis`: labelled tiles, compressed by OpenJPEG with the 9/7
wavelet to some 1.4 bits a pixel, as Aperio's scanners do, then the same.

A row for each set and extractor: the difference of pixels in grey levels, the cosine of a tile's two embeddings, the
share of its ten nearest tiles that stay, and how well its neighbours (k = 10, of other groups) tell its label, either
way. `shift` is what averaging from one pixel further right and down does: no user would notice that.
"""

import argparse
import csv
from pathlib import Path
from typing import NamedTuple

import cv2
import imagecodecs
import numpy as np
from at_hand import configs
from measure import absolute_path, write_row

from embedstore.extractors import load_extractor
from embedstore.slides.readers.jpeg2000 import decode_jpeg2000, decode_jpeg2000_reduced

EXTRACTORS = ("shufflenet-histology", "mobilenetv2-imagenet", "squeezenet-imagenet", "stain-texture")
TASKS = {"camelyon16": "lymph_node_metastasis_camelyon16_256", "mitosis": "mitosis_atypical_vs_normal"}
PSNR = 36  # OpenJPEG's target; gives the bits a pixel that Aperio's tiles have
NEIGHBOURS = 10


class Tiles(NamedTuple):
    """(n, edge, edge, 3) pixels either way, each tile's label and the group whose tiles do not count as neighbours."""

    area: np.ndarray
    reduced: np.ndarray
    shifted: np.ndarray
    labels: np.ndarray | None
    groups: np.ndarray
    kb: float


def half(pixels: np.ndarray) -> np.ndarray:
    return cv2.resize(pixels, (pixels.shape[1] // 2, pixels.shape[0] // 2), interpolation=cv2.INTER_AREA)


def shifted(pixels: np.ndarray) -> np.ndarray:
    return half(np.pad(pixels, ((0, 1), (0, 1), (0, 0)), mode="edge")[1:, 1:])


def from_slide(path: Path) -> Tiles:
    import tifffile

    with tifffile.TiffFile(path) as tiff, path.open("rb") as file:
        page = tiff.pages[0]
        columns, rows = page.imagewidth // page.tilewidth, page.imagelength // page.tilelength
        across = -(-page.imagewidth // page.tilewidth)
        ycbcr = int(page.compression) == 33003
        streams = {}
        for row in range(rows):
            for column in range(columns):
                file.seek(page.dataoffsets[row * across + column])
                streams[row, column] = file.read(page.databytecounts[row * across + column])
    whole = {place: decode_jpeg2000(stream, ycbcr=ycbcr) for place, stream in streams.items()}
    small = {place: decode_jpeg2000_reduced(stream, 2, ycbcr=ycbcr) for place, stream in streams.items()}
    # on glass nothing is to be told
    places = [(r, c) for r in range(rows - 1) for c in range(columns - 1) if len(streams[r, c]) > 5000]
    squares = [[_square(parts, *place) for place in places] for parts in (whole, small)]
    groups = np.array([row * 1000 + column for row, column in places])
    kb = np.mean([len(stream) for stream in streams.values()]) / 1000
    area, moved = ([change(square) for square in squares[0]] for change in (half, shifted))
    return Tiles(np.stack(area), np.stack(squares[1]), np.stack(moved), None, groups, kb)


def _square(parts: dict, row: int, column: int) -> np.ndarray:
    return np.vstack([np.hstack([parts[row + i, column + j] for j in (0, 1)]) for i in (0, 1)])


def from_task(folder: Path) -> Tiles:
    rows = list(csv.DictReader((folder / "labels.csv").open()))
    pictures = [cv2.cvtColor(cv2.imread(str(folder / row["file"])), cv2.COLOR_BGR2RGB) for row in rows]
    streams = [
        imagecodecs.jpeg2k_encode(picture, level=PSNR, codecformat="j2k", reversible=False, resolutions=6)
        for picture in pictures
    ]
    whole = [decode_jpeg2000(stream) for stream in streams]
    area, moved = ([change(each) for each in whole] for change in (half, shifted))
    small = [decode_jpeg2000_reduced(stream, 2) for stream in streams]
    labels, groups = (np.array([row[name] for row in rows]) for name in ("label", "group"))
    kb = np.mean([len(stream) for stream in streams]) / 1000
    return Tiles(np.stack(area), np.stack(small), np.stack(moved), labels, groups, kb)


def neighbours(vectors: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """(n, 10) nearest tiles of other groups."""
    similar = vectors @ vectors.T
    similar[groups[:, None] == groups] = -2
    return np.argsort(-similar, axis=1)[:, :NEIGHBOURS]


def balanced_accuracy(nearest: np.ndarray, labels: np.ndarray) -> float:
    first, second = np.unique(labels)
    votes = (labels[nearest] == second).mean(axis=1) > (labels == second).mean()
    return float(np.mean([(votes == (name == second))[labels == name].mean() for name in (first, second)]))


def compare(name: str, tiles: Tiles, data: Path) -> None:
    edge = tiles.area.shape[1]
    pixels = np.abs(tiles.area.astype(int) - tiles.reduced)
    for config in configs(data, EXTRACTORS, tile_px=edge, mpp=0.5):
        extractor = load_extractor(config)
        found = {}
        for which in ("area", "reduced", "shifted"):
            vectors = extractor.embed(getattr(tiles, which)).astype(np.float32)
            found[which] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        near = {which: neighbours(vectors, tiles.groups) for which, vectors in found.items()}
        cosine = {which: (found["area"] * found[which]).sum(axis=1) for which in ("reduced", "shifted")}
        kept = {
            which: np.mean([len(np.intersect1d(a, b)) for a, b in zip(near["area"], near[which], strict=True)])
            for which in ("reduced", "shifted")
        }
        told = (
            {which: round(balanced_accuracy(near[which], tiles.labels), 3) for which in near}
            if tiles.labels is not None
            else {}
        )
        write_row(
            "reduced_jpeg2000",
            {
                "set": name,
                "tiles": len(tiles.area),
                "edge_px": edge,
                "kb": round(tiles.kb, 1),
                "extractor": config.ref if ":" not in config.ref else config.ref.rpartition(":")[2],
                "mean_difference": round(float(pixels.mean()), 2),
                "highest_difference": int(pixels.max()),
                "cosine": round(float(cosine["reduced"].mean()), 4),
                "lowest_cosine": round(float(cosine["reduced"].min()), 4),
                "shift_cosine": round(float(cosine["shifted"].mean()), 4),
                "neighbours_kept": round(float(kept["reduced"]) / NEIGHBOURS, 3),
                "shift_neighbours_kept": round(float(kept["shifted"]) / NEIGHBOURS, 3),
                **{f"{which}_balanced_accuracy": told.get(which, "") for which in near},
            },
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("slides", nargs="*", type=absolute_path, help="with tiles of JPEG 2000")
    parser.add_argument("--data", type=absolute_path, default="../shared/data", help="folder with tiles/ and weights/")
    args = parser.parse_args()
    for slide in args.slides:
        compare("slide", from_slide(slide), args.data)
    for name, folder in TASKS.items():
        compare(name, from_task(args.data / "tiles" / folder), args.data)


if __name__ == "__main__":
    main()
