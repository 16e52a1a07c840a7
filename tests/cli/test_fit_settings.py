"""Settings of a fit: defaults < file < flags."""

from pathlib import Path

import click
import pytest

from cli.fit_head import command
from cli.fit_settings import resolve_fit
from embedstore.errors import ConfigError
from heads.config import AugmentConfig, FitConfig

NOISE = AugmentConfig(noise=0.5)
MIXED = AugmentConfig(mixup=0.4, interpolate=0.3)


def resolved(*flags: object) -> FitConfig:
    """The settings of `fit-head` with these flags."""
    argv = ["--store", "store", "--task", "tumour", *map(str, flags)]
    return resolve_fit(command.make_context("fit-head", argv).params)


def test_without_anything_it_is_the_default():
    assert resolved() == FitConfig()


def test_flags_win_over_the_file_and_the_file_over_defaults(tmp_path: Path):
    path = tmp_path / "fit.toml"
    path.write_text("[fit]\nsteps = 50\nhidden = 32\ncalibrate = true\n[split]\nfolds = 4\n[join]\nrule = 'overlap'\n")
    config = resolved("--config", path, "--steps", 60, "--no-calibrate", "--min-overlap", 0.75)
    assert (config.steps, config.hidden, config.calibrate, config.split.folds) == (60, 32, False, 4)
    assert (config.join.rule, config.join.min_overlap) == ("overlap", 0.75)


def test_what_a_label_describes_follows_from_the_model():
    assert [resolved("--model", model).level for model in ("linear", "mlp", "mean", "abmil")] == [
        "tile", "tile", "slide", "slide",
    ]  # fmt: skip
    assert resolved("--model", "max", "--level", "patient").level == "patient"


def test_a_column_or_a_file_implies_the_kind_of_split(tmp_path: Path):
    path = tmp_path / "split.csv"
    path.touch()
    assert resolved("--split-column", "site").split.kind == "column"
    assert resolved("--split-file", path).split.kind == "file"


def test_policies_from_flags_and_file(tmp_path: Path):
    assert resolved().augment is None and resolved("--augment", "none").augment == (AugmentConfig(),)
    flags = ["--augment", "none", "--augment", "noise=0.5", "--augment", "mixup=0.4,interpolate=0.3"]
    assert resolved(*flags, "--augment", "noise=0.5").augment == (AugmentConfig(), NOISE, MIXED)
    assert resolved("--augment", "search", "--augment", "noise=0.5").augment == ("search", NOISE)
    one, several = tmp_path / "one.toml", tmp_path / "several.toml"
    one.write_text("[augment]\nnoise = 0.5\n")
    several.write_text("[[augment]]\n[[augment]]\nmixup = 0.4\ninterpolate = 0.3\n")
    assert resolved("--config", one).augment == (NOISE,)
    assert resolved("--config", several).augment == (AugmentConfig(), MIXED)
    assert resolved("--config", several, "--augment", "noise=0.5").augment == (NOISE,)
    one.write_text("[augment]\nblur = 0.5\n")
    with pytest.raises(ConfigError, match=r"\[augment\] has blur; expected some of dropout, .*views"):
        resolved("--config", one)


def test_a_policy_is_written_as_the_option_takes_it():
    assert str(AugmentConfig()) == "none"
    assert resolved("--augment", MIXED).augment == (MIXED,)


def test_an_unknown_kind_of_augmentation_is_wrong_usage():
    with pytest.raises(
        click.UsageError, match="noise, dropout, mixup, interpolate, extrapolate, views, learned; or none, search"
    ):
        resolved("--augment", "rotate=1")
    with pytest.raises(click.UsageError, match="expected a number after '='"):
        resolved("--augment", "noise=much")
