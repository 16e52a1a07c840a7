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
        readers: Numbers of readers; the last is the one that pipelines have.
        batches_checked: Batches whose rows are compared bit by bit.
        batches_flat: Batches over which memory must not grow.
        distinct: Different JPEG tiles.
        labelled: Labelled tiles to fit on, and as many again to test on; all when 0.
        compared: Tiles of which a large network's embeddings are compared.
        vectors, dim: Vectors that heads are fitted to.
        head_steps, head_batch: Steps of a fit, and vectors in each.
        view_tiles: Tiles of an augmenter.
        tune_px: Edge of the tiles that networks are fine-tuned on.
        tune_batch: Tiles in a step of fine-tuning.
        tune_s: Seconds that steps of each network are timed.
        tune_passes: Most passes over the tiles until fine-tuning is as good as a head.
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
    vectors: int
    dim: int
    head_steps: int
    head_batch: int
    view_tiles: int
    tune_px: int
    tune_batch: int
    tune_s: float
    tune_passes: int


FULL = Sizes(
    models=("vit_small_patch16_224", "resnet50", "vit_large_patch16_224"),
    huge="vit_huge_patch14_224",
    tile_px=224,
    batches=(256, 512, 1024),
    measure_s=0.4,
    tiles=12288,
    rounds=2,
    readers=(1, 4, 8, 14),
    batches_checked=150,
    batches_flat=200,
    distinct=256,
    labelled=0,
    compared=512,
    vectors=1_000_000,
    dim=768,
    head_steps=1000,
    head_batch=1024,
    view_tiles=40_000,
    tune_px=224,
    tune_batch=64,
    tune_s=3.0,
    tune_passes=25,
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
    labelled=4,
    compared=4,
    vectors=600,
    dim=16,
    head_steps=4,
    head_batch=8,
    view_tiles=60,
    tune_px=96,
    tune_batch=4,
    tune_s=0.1,
    tune_passes=1,
)
