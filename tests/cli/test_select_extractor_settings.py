"""Candidates and their comparison from flags and a TOML file."""

from pathlib import Path

import click
import pytest

from cli.select_extractor import command, resolve_select
from embedstore.errors import ConfigError


def resolved(*flags: object):
    """Candidates and settings of `select-extractor` with these flags."""
    flags = ("--store", "store", "--task", "tumour", *flags)
    return resolve_select(command.make_context("select-extractor", [str(flag) for flag in flags]).params)


def written(folder: Path, text: str) -> str:
    path = folder / "select.toml"
    path.write_text(text)
    return str(path)


def test_flags_win_over_the_file_and_the_file_over_defaults(tmp_path: Path):
    path = written(
        tmp_path, '[[extractor]]\nref = "colour-12"\n[select]\ntiles = 50\nseed = 3\nshots = [2]\n[split]\nfolds = 4\n'
    )
    candidates, config = resolved("--config", path, "--tiles", 60, "--split-column", "site")
    assert [one.ref for one in candidates] == ["colour-12"]
    assert (config.tiles, config.seed, config.shots, config.draws) == (60, 3, (2,), 50)
    assert (config.split.kind, config.split.column, config.split.folds) == ("column", "site", 4)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[selection]\n", r"'selection'; expected the tables \[select\], \[split\], \[join\], \[\[extractor\]\]"),
        ("[select]\ntile = 5\n", "tile"),
        ("[select\n", "is not TOML"),
        ("[select]\nrank_by = 'k-NN'\n", "rank_by is 'k-NN'"),
    ],
)
def test_a_file_with_something_else_is_refused(tmp_path: Path, text: str, said: str):
    with pytest.raises(ConfigError, match=said):
        resolved("--config", written(tmp_path, text), "-e", "colour-12")


def test_flags_of_extractors_do_not_vanish_beside_those_of_a_file(tmp_path: Path):
    path = written(tmp_path, '[[extractor]]\nref = "colour-12"\n')
    with pytest.raises(click.UsageError, match="--mean goes with --extractor"):
        resolved("--config", path, "--mean", "0,0,0")
