"""Extractors of a TOML file."""

from pathlib import Path

import pytest

from embedstore.errors import ConfigError
from embedstore.extractors import ExtractorConfig, read_extractors


def write(folder: Path, text: str) -> Path:
    path = folder / "extractors.toml"
    path.write_text(text)
    return path


def test_extractors_are_read_in_their_order(tmp_path: Path):
    path = write(
        tmp_path,
        '[[extractor]]\nref = "colour-12"\n\n'
        '[[extractor]]\nref = "resnet18"\nweights = "random"\nmean = [0.5, 0.5, 0.5]\narch_args = { in_chans = 3 }\n',
    )
    assert read_extractors(path) == [
        ExtractorConfig(ref="colour-12"),
        ExtractorConfig(ref="resnet18", weights="random", mean=(0.5, 0.5, 0.5), arch_args={"in_chans": 3}),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[[extractor]]\nname = "x"\n', "has no ref"),
        ('[[extractor]]\nref = "x"\nsize = 3\n', "has size; expected some of"),
        ('[tiling]\ntile_px = 3\n', r"has 'tiling'; expected the tables \[\[extractor\]\]"),
        ('[[extractor]\n', "is not TOML"),
        ('[[extractor]]\nref = "x"\n[[extractor]]\nref = "y"\ncollection = "c"\n', "name all or none"),
    ],
)  # fmt: skip
def test_the_error_names_what_is_wrong_with_a_file(tmp_path: Path, text: str, message: str):
    with pytest.raises(ConfigError, match=message):
        read_extractors(write(tmp_path, text))
