"""Settings by keyword, as dictionaries and as objects."""

import pytest

from embedstore.api.settings import fit_config
from embedstore.config import RunConfig, TissueConfig
from embedstore.errors import ConfigError
from embedstore.search_config import SearchConfig
from embedstore.settings import build_config
from heads.config import AugmentConfig, FitConfig, SelectConfig, SplitConfig


def test_an_object_a_dictionary_and_keywords_make_the_same():
    expected = TissueConfig(mpp=4.0, exclude_pen=False)
    assert build_config(TissueConfig, expected) is expected
    assert build_config(TissueConfig, {"mpp": 4.0, "exclude_pen": False}) == expected
    assert build_config(TissueConfig, None, mpp=4.0, exclude_pen=False) == expected
    assert build_config(TissueConfig, TissueConfig(mpp=4.0), exclude_pen=False) == expected
    assert build_config(TissueConfig, {"mpp": 2.0}, mpp=4.0, exclude_pen=False) == expected


def test_configurations_inside_configurations_may_be_dictionaries():
    expected = FitConfig(split=SplitConfig(folds=3))
    assert build_config(FitConfig, None, split={"folds": 3}) == expected
    assert build_config(FitConfig, {"split": {"folds": 3}}) == expected
    assert build_config(SelectConfig, None, split={"folds": 3}).split == expected.split


def test_one_name_may_stand_for_several():
    assert build_config(SearchConfig, None, columns="stain").columns == ("stain",)
    assert build_config(SearchConfig, None, columns=["stain"]).columns == ("stain",)


def test_the_level_of_a_fit_follows_from_its_model():
    assert [fit_config(None, {"model": model}).level for model in ("linear", "mlp", "abmil")] == [
        "tile", "tile", "slide",
    ]  # fmt: skip
    assert fit_config(None, {"model": "mean", "level": "patient"}).level == "patient"


def test_policies_of_augmentation_in_every_form():
    policy = AugmentConfig(noise=0.3)
    for augment in (policy, {"noise": 0.3}, [policy], [{"noise": 0.3}]):
        assert fit_config(None, {"augment": augment, "optimizer": "adamw"}).policies == (policy,)
    assert fit_config(None, {"augment": "search"}).augment == ("search",)
    assert fit_config(None, {"augment": None}).augment is None


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        (RunConfig, {"reader": 3}, "RunConfig has no setting 'reader'; it has readers, extractors"),
        (FitConfig, {"split": {"fold": 3}}, "SplitConfig has no setting 'fold'; it has kind, folds"),
        (FitConfig, {"split": {"folds": 1}}, "folds is 1; expected 3 to 50"),
        (RunConfig, 3, "expected a RunConfig or a dictionary of its fields, found a int"),
    ],
)
def test_what_cannot_be_is_refused(kind: type, value: object, message: str):
    with pytest.raises(ConfigError, match=message):
        build_config(kind, value)


def test_values_that_are_equal_and_of_other_types_are_told_apart():
    """Settings by name are made once, and looked up by their values."""
    assert build_config(SearchConfig, None, k=1) is build_config(SearchConfig, None, k=1)
    with pytest.raises(ConfigError, match="k is True"):
        build_config(SearchConfig, None, k=True)
