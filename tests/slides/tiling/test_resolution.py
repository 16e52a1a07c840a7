"""Resolution: where it comes from, warnings about it, and the level that is read for it."""

from types import SimpleNamespace

import pytest

from embedstore.errors import ResolutionError
from embedstore.slides import best_level, check_fine_enough, resolve_mpp


def slide_stating(*mpp_xy: float) -> SimpleNamespace:
    return SimpleNamespace(mpp_xy=mpp_xy or None, mpp=sum(mpp_xy) / 2 if mpp_xy else None)


def test_a_slide_without_resolution_says_how_to_give_it():
    with pytest.raises(ResolutionError, match=r"slide 'a\.svs' has no resolution.*--mpp 0\.25.*column mpp"):
        resolve_mpp(slide_stating(), "a.svs", None)


def test_the_files_resolution_is_taken_without_a_warning():
    assert resolve_mpp(slide_stating(0.25, 0.25), "a", None) == (0.25, [])


def test_the_users_resolution_wins_and_a_contradiction_is_a_warning():
    assert resolve_mpp(slide_stating(0.25, 0.25), "a", 0.26) == (0.26, [])
    mpp, warnings = resolve_mpp(slide_stating(0.25, 0.25), "a", 0.5)
    assert mpp == 0.5
    assert warnings == ["mpp 0.5 as given; the file says 0.25"]
    assert resolve_mpp(slide_stating(), "a", 0.5) == (0.5, [])


@pytest.mark.parametrize("given", [0.0, -1.0, float("nan"), float("inf")])
def test_a_resolution_that_is_none_is_refused(given):
    with pytest.raises(ResolutionError, match="positive"):
        resolve_mpp(slide_stating(0.25, 0.25), "a", given)


@pytest.mark.parametrize(("mpp", "implausible"), [(0.04, True), (0.06, False), (4.9, False), (16.783, True)])
def test_an_implausible_resolution_is_a_warning(mpp, implausible):
    warnings = resolve_mpp(slide_stating(mpp, mpp), "a", None)[1]
    assert [w.startswith("implausible") for w in warnings] == [True] * implausible


def test_pixels_that_are_not_square_are_a_warning():
    mpp, warnings = resolve_mpp(slide_stating(0.24, 0.26), "a", None)
    assert mpp == pytest.approx(0.25)
    assert "not square" in warnings[0]


def test_a_slide_coarser_than_the_target_is_refused_beyond_ten_percent():
    check_fine_enough(0.5, 0.5, "a")
    check_fine_enough(0.549, 0.5, "a")
    with pytest.raises(ResolutionError, match=r"'a' has 0\.56 µm/px at level 0, coarser than the requested 0\.5"):
        check_fine_enough(0.56, 0.5, "a")
    with pytest.raises(ResolutionError, match="placeholder"):
        check_fine_enough(16.783, 0.5, "a")


@pytest.mark.parametrize(("target", "level"), [(0.25, 0), (0.3, 0), (0.5, 1), (0.9, 1), (1.0, 2), (8.0, 2), (0.24, 0)])
def test_the_level_is_the_coarsest_that_is_fine_enough(target, level):
    assert best_level([1.0, 2.0005, 4.002], mpp=0.25, target_mpp=target) == level
