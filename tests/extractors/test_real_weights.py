"""Networks whose weights were really trained, where the shared data is at hand."""

import cv2
import numpy as np
import pytest
import torch

from embedstore.extractors import ExtractorConfig, load_extractor
from tests.marks import slow

MOBILENET = "weights/timm_mobilenetv2_100_imagenet_dequantised.safetensors"
SHUFFLENET = "weights/kather_shufflenetv1_msih.safetensors"
FUNCTION = """
    import sys

    from embedstore.extractors import CustomNetwork


    def shufflenet(folder):
        sys.path.insert(0, folder)
        from shufflenet_v1 import ShuffleNetV1

        network = ShuffleNetV1()
        mean, std = ([v / 255 for v in values] for values in (network.mean, network.std))
        return CustomNetwork(module=network, embed=network.features, tile_px=96, mpp=0.972, mean=mean, std=std)
"""


def mobilenet(shared_data, **changes) -> ExtractorConfig:
    half = (0.5, 0.5, 0.5)  # x / 127.5 - 1
    facts = {"ref": "mobilenetv2_100", "weights": str(shared_data / MOBILENET), "mean": half, "std": half}
    return ExtractorConfig(**{**facts, "arch_args": {"pad_type": "same"}, **changes})


@pytest.mark.parametrize(
    ("picture", "label"),
    [
        ("cat.bmp", "Egyptian cat"),
        slow("parrot.jpg", "macaw"),
        slow("sunflower.bmp", "daisy"),
        slow("burger.jpg", "cheeseburger"),
    ],
)
def test_mobilenet_sees_what_is_there(shared_data, picture, label):
    """The features, through the file's own classifier, name the check images."""
    from safetensors.torch import load_file

    folder = shared_data / "weights" / "check_images"
    extractor = load_extractor(mobilenet(shared_data), device="cpu")
    image = cv2.cvtColor(cv2.imread(str(folder / picture)), cv2.COLOR_BGR2RGB)
    features = extractor.embed(cv2.resize(image, (224, 224), interpolation=cv2.INTER_AREA)[None])
    state = load_file(shared_data / MOBILENET)
    scores = torch.from_numpy(features).float() @ state["classifier.weight"].T + state["classifier.bias"]
    labels = (folder / "imagenet_labels.txt").read_text().splitlines()
    offset = len(labels) - scores.shape[1]  # some lists begin with a background class
    assert label in labels[int(scores.argmax()) + offset]


def test_mobilenet_with_another_padding_is_another_extractor(shared_data):
    own = load_extractor(mobilenet(shared_data), device="cpu")
    other = load_extractor(mobilenet(shared_data, arch_args={}), device="cpu")
    assert own.dim == other.dim == 1280
    assert own.digest != other.digest


def test_shufflenet_of_a_users_function(shared_data, tmp_path):
    import textwrap

    file = tmp_path / "histology.py"
    file.write_text(textwrap.dedent(FUNCTION))
    extractor = load_extractor(
        ExtractorConfig(
            ref=f"{file}:shufflenet",
            weights=str(shared_data / SHUFFLENET),
            arch_args={"folder": str(shared_data / "weights")},
        ),
        device="cpu",
    )
    assert (extractor.name, extractor.dim, extractor.tile_px) == ("shufflenet", 544, 96)
    folder = shared_data / "tiles" / "lymph_node_metastasis_pcam" / "test"
    tiles = [cv2.imread(str(path))[..., ::-1] for path in sorted(folder.rglob("*.jpg"))[:8]]
    rows = extractor.embed(np.stack(tiles))
    # By hand: (x - mean) / std on 0..255, as the class says.
    from safetensors.torch import load_file
    from shufflenet_v1 import ShuffleNetV1  # type: ignore[import-not-found]

    network = ShuffleNetV1().eval()
    network.load_state_dict(load_file(shared_data / SHUFFLENET), strict=False)
    pixels = (np.stack(tiles) - np.array(network.mean)) / np.array(network.std)
    with torch.inference_mode():
        expected = network.features(torch.from_numpy(pixels).float().permute(0, 3, 1, 2))
    np.testing.assert_allclose(rows, expected, atol=4e-3, rtol=4e-3)
