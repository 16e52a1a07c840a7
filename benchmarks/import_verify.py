"""How far vectors of a tile differ between tools, and how far those of other tiles or networks: bounds of --verify.

Tiles of a real slide are embedded as embedstore cuts them, and again after what other tools do otherwise: other ways of
resizing, JPEG in between, half precision, a place that is rounded. Against these stand what --verify has to find out:
other weights, places, resolution, channels, normalisation. Of each pair, the cosine, and the share of the distance
between different tiles that it makes up (`relative`); a row a network and change in results/import_verify.csv.

    python benchmarks/import_verify.py --data ../shared/data
"""

import argparse
import dataclasses
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from at_hand import configs  # noqa: E402
from measure import write_row  # noqa: E402

from embedstore.extractors import ExtractorConfig, load_extractor  # noqa: E402
from embedstore.slides import open_slide  # noqa: E402
from embedstore.slides.resize import fit_square  # noqa: E402

TILE_PX, TILES = 224, 32
NETWORKS = ("mobilenetv2-imagenet", "mobilenetv1-imagenet", "squeezenet-imagenet", "shufflenet-histology")
#: Level-0 pixels of a tile: at 0.499 µm/px these are 256 µm, as STAMP's, and 224 px at 1 µm/px, as TRIDENT's at 10x.
EDGES = {"256um": 513, "10x": 448, "20x": 224}


def regions(slide: Path, edge: int) -> tuple[Callable[[int, int, int], np.ndarray], list[tuple[int, int]]]:
    """A function that reads a square, and places with tissue."""
    opened = open_slide(slide)
    width, height = opened.size_l0

    def read(x: int, y: int, size: int) -> np.ndarray:
        return opened.read_region((x, y), 0, (size, size))

    rng = np.random.default_rng(0)
    places: list[tuple[int, int]] = []
    while len(places) < TILES:
        x, y = int(rng.integers(0, width - 2 * edge)), int(rng.integers(0, height - 2 * edge))
        if read(x, y, edge).std() > 20:
            places.append((x, y))
    return read, places


def pil(how: Image.Resampling) -> Callable[[np.ndarray], np.ndarray]:
    return lambda region: np.asarray(Image.fromarray(region).resize((TILE_PX, TILE_PX), how))


def jpeg(quality: int) -> Callable[[np.ndarray], np.ndarray]:
    def change(region: np.ndarray) -> np.ndarray:
        data = cv2.imencode(".jpg", fit_square(region, TILE_PX), [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        return cv2.imdecode(data, cv2.IMREAD_COLOR)

    return change


def by_256(region: np.ndarray) -> np.ndarray:
    """CLAM: a patch of 256 px, resized to 224 by the network's preprocessing."""
    return np.asarray(Image.fromarray(fit_square(region, 256)).resize((TILE_PX, TILE_PX), Image.Resampling.BILINEAR))


SAME = {
    "PIL bilinear": pil(Image.Resampling.BILINEAR),
    "PIL bicubic": pil(Image.Resampling.BICUBIC),
    "PIL Lanczos": pil(Image.Resampling.LANCZOS),
    "OpenCV bilinear, not smoothed": lambda region: cv2.resize(region, (TILE_PX, TILE_PX)),
    "256 px first": by_256,
    "JPEG 90": jpeg(90),
    "JPEG 75": jpeg(75),
}


def changes(read, places, edge) -> Iterator[tuple[str, str, np.ndarray]]:
    """(kind, name, tiles) of what other tools do, and of what is wrong."""
    cut = {shift: [read(x + shift, y, edge) for x, y in places] for shift in (0, 1, 2, edge // 2, edge)}
    for name, change in SAME.items():
        yield "same", name, np.stack([change(region) for region in cut[0]])
    for shift in (1, 2):
        yield "same", f"{shift} px aside", np.stack([fit_square(region, TILE_PX) for region in cut[shift]])
    yield "other", "half a tile aside", np.stack([fit_square(region, TILE_PX) for region in cut[edge // 2]])
    yield "other", "the next tile", np.stack([fit_square(region, TILE_PX) for region in cut[edge]])
    wide = [fit_square(read(x - edge // 2, y - edge // 2, 2 * edge), TILE_PX) for x, y in places]
    yield "other", "half the magnification", np.stack(wide)
    slightly = [fit_square(read(x - edge // 10, y - edge // 10, edge + edge // 5), TILE_PX) for x, y in places]
    yield "other", "a fifth more of the slide", np.stack(slightly)
    yield "other", "blue and red exchanged", np.stack([fit_square(region, TILE_PX)[..., ::-1] for region in cut[0]])


def compare(stored: np.ndarray, fresh: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cosines of pairs, and their distances as shares of the median distance between different tiles."""
    a, b = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True) for vectors in (stored, fresh))
    between = 1 - b @ b.T
    usual = np.median(between[~np.eye(len(b), dtype=bool)])
    own = np.einsum("ij,ij->i", a, b)
    return own, (1 - own) / usual


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    data = parser.parse_args().data
    slide = data / "slides" / "CMU-1-Small-Region.svs"
    found = configs(data, NETWORKS, tile_px=TILE_PX, mpp=1.0)
    found.append(ExtractorConfig(ref="vit_small_patch16_224", name="vit-small-random", weights="random:0", mpp=1.0))
    for config in found:
        name = config.name or config.ref.rpartition(":")[2]
        extractor = load_extractor(config)
        for size, edge in EDGES.items():
            read, places = regions(slide, edge)
            fresh = extractor.embed(np.stack([fit_square(read(x, y, edge), TILE_PX) for x, y in places])).astype(float)
            found_changes = list(changes(read, places, edge))
            vectors = {(kind, what): extractor.embed(pixels).astype(float) for kind, what, pixels in found_changes}
            raw = dataclasses.replace(config, mean=(0.4, 0.4, 0.4), std=(0.25, 0.25, 0.25))
            pixels = np.stack([fit_square(read(x, y, edge), TILE_PX) for x, y in places])
            vectors["other", "normalised otherwise"] = load_extractor(raw).embed(pixels).astype(float)
            rng = np.random.default_rng(0)
            vectors["other", "unrelated weights"] = (
                fresh[rng.permutation(len(fresh))] @ np.linalg.qr(rng.standard_normal((fresh.shape[1],) * 2))[0]
            )
            for (kind, what), stored in vectors.items():
                cosine, relative = compare(stored, fresh)
                write_row(
                    "import_verify",
                    {
                        "network": name,
                        "tiles": size,
                        "kind": kind,
                        "change": what,
                        "cosine_median": round(float(np.median(cosine)), 4),
                        "cosine_lowest": round(float(cosine.min()), 4),
                        "relative_median": round(float(np.median(relative)), 4),
                        "relative_highest": round(float(relative.max()), 4),
                    },
                )


if __name__ == "__main__":
    main()
