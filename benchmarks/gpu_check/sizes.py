"""How much is measured: on a GPU, or as little as shows that everything runs."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much is measured.

    Attributes:
        models: Networks, the one of which most is to be learned first.
        huge: A network that is measured last.
        tile_px: Edge of a tile.
        batches: Tiles in a forward pass; the first is the extractor's own.
        measure_s: Seconds that a forward pass is repeated.
        tiles: Tiles of a run of the pipeline.
        rounds: Runs of the pipeline.
        readers: Numbers of reader threads; the last is the one that pipelines have.
        batches_checked: Batches whose rows are compared bit by bit.
        batches_flat: Batches over which memory must not grow.
        distinct: Different JPEG tiles.
        labelled: Labelled tiles to fit on, and as many again to test on; all when 0.
        compared: Tiles of which a large network's embeddings are compared.
    """

    models: tuple[str, ...]
    huge: str
    tile_px: int
    batches: tuple[int, ...]
    measure_s: float
    tiles: int
    rounds: int
    readers: tuple[int, ...]
    batches_checked: int
    batches_flat: int
    distinct: int
    labelled: int
    compared: int


FULL = Sizes(
    models=("vit_small_patch16_224", "resnet50", "vit_large_patch16_224"),
    huge="vit_huge_patch14_224",
    tile_px=224,
    batches=(256, 512, 1024),
    measure_s=0.4,
    tiles=12288,
    rounds=2,
    readers=(4, 8, 16, 14),
    batches_checked=150,
    batches_flat=200,
    distinct=256,
    labelled=0,
    compared=512,
)
SMALL = Sizes(
    models=("test_vit", "resnet10t"),
    huge="test_vit2",
    tile_px=160,
    batches=(2, 3),
    measure_s=0.01,
    tiles=12,
    rounds=1,
    readers=(1, 2),
    batches_checked=2,
    batches_flat=3,
    distinct=8,
    labelled=8,
    compared=4,
)
