"""The labelled tasks, and every extractor that can be had without a hub: shared weights, built-in ones, untrained ones.

`recipe` writes them as the configuration file that `embedstore ingest` and `select-extractor` take; the functions are
the extractors that timm has no name for, as a user's own functions would give them.
"""

import sys
import tempfile
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

from embedstore.extractors import CustomNetwork, ExtractorConfig, read_extractors

HERE = Path(__file__).resolve()
#: Of each task: edge of its tiles, their resolution, and the class that is looked for.
TASKS = {
    "lymph_node_metastasis_pcam": (96, 0.972, "metastasis"),
    "mitosis_atypical_vs_normal": (128, 0.25, "atypical"),
    "lymph_node_metastasis_camelyon16_256": (256, 0.243, "metastasis"),
}
#: Those with parts to train, validate and test on; the third has 89 tiles.
TARGETS = tuple(TASKS)[:2]
#: The one that a user would take who chooses nothing: trained on everyday photographs, and the largest here.
REFERENCE = "mobilenetv2-imagenet"
#: Untrained networks: what any trained one must beat.
CONTROLS = ("mobilenetv2-random", "shufflenet-random")


def shufflenet(folder: str, name: str = "shufflenet-histology", seed: int = 0) -> CustomNetwork:
    """The shared histology network, or with no weights given to it the same untrained."""
    import torch

    sys.path.insert(0, folder)
    from shufflenet_v1 import ShuffleNetV1  # type: ignore[import-not-found]

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = ShuffleNetV1()
    mean, std = (tuple(value / 255 for value in values) for values in (network.mean, network.std))
    return CustomNetwork(module=network, embed=network.features, name=name, mean=mean, std=std)


def mobilenetv1() -> CustomNetwork:
    """MobileNetV1 of a quarter of the width, which timm builds but does not list."""
    from timm.models.efficientnet import _gen_mobilenet_v1

    network = _gen_mobilenet_v1("mobilenetv1_100", 0.25, pad_type="same", fix_stem_head=False, num_classes=0)
    return CustomNetwork(module=network, name="mobilenetv1-imagenet", mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))


def squeezenet() -> CustomNetwork:
    """SqueezeNet 1.1 without its classifier, of Caffe's preprocessing: BGR on 0..255 less the mean."""
    import torch
    from torchvision.models import squeezenet1_1

    features = squeezenet1_1(weights=None).features
    module = torch.nn.Module()
    module.features = features
    return CustomNetwork(
        module=module,
        embed=lambda x: features(x.flip(1)).mean((2, 3)),
        name="squeezenet-imagenet",
        mean=(123.68 / 255, 116.779 / 255, 103.939 / 255),
        std=(1 / 255, 1 / 255, 1 / 255),
    )


def recipe(data: Path, path: Path, names: Collection[str] = ()) -> Path:
    """Write the configuration file.

    Args:
        data: The folder that holds weights/.
        path: The file.
        names: Those that are wanted; all when empty.
    """
    places = {"weights": data.resolve() / "weights", "script": HERE}
    tables = [table for name, table in _TABLES.items() if not names or name in names]
    path.write_text("\n".join(f"[[extractor]]{table.format(**places)}" for table in tables))
    return path


def configs(data: Path, names: Collection[str], **tiles: Any) -> list[ExtractorConfig]:
    """The same as configurations, all of them of the same tiles: `tile_px`, `mpp`."""
    with tempfile.TemporaryDirectory() as folder:
        extractors = read_extractors(recipe(data, Path(folder) / "extractors.toml", names))
    return [replace(extractor, **tiles) for extractor in extractors]


_MOBILENETV2 = """
ref = "mobilenetv2_100"
arch_args = {{ pad_type = "same" }}
mean = [0.5, 0.5, 0.5]
std = [0.5, 0.5, 0.5]
"""
_TABLES = {
    "colour-12": """
ref = "colour-12"
""",
    "stain-texture": """
ref = "stain-texture"
""",
    "mobilenetv2-imagenet": f"""{_MOBILENETV2}
name = "mobilenetv2-imagenet"
weights = "{{weights}}/timm_mobilenetv2_100_imagenet_dequantised.safetensors"
""",
    "mobilenetv1-imagenet": """
ref = "{script}:mobilenetv1"
weights = "{weights}/timm_mobilenetv1_025_imagenet.safetensors"
""",
    "squeezenet-imagenet": """
ref = "{script}:squeezenet"
weights = "{weights}/torchvision_squeezenet1_1_features_imagenet.safetensors"
""",
    "shufflenet-histology": """
ref = "{script}:shufflenet"
name = "shufflenet-histology"
weights = "{weights}/kather_shufflenetv1_msih.safetensors"
arch_args = {{ folder = "{weights}" }}
""",
    "mobilenetv2-random": f"""{_MOBILENETV2}
name = "mobilenetv2-random"
weights = "random"
""",
    "shufflenet-random": """
ref = "{script}:shufflenet"
name = "shufflenet-random"
arch_args = {{ folder = "{weights}", name = "shufflenet-random" }}
""",
}
