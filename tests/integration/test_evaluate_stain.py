"""A head on slides of another stain: it ranks as before, and its probabilities have shifted."""

from pathlib import Path

import pytest

from embedstore import api
from embedstore.progress import no_progress
from synthetic_slides import SlideRecipe, StainMix, write_slide

pytestmark = pytest.mark.slow

STAINS = {"usual": StainMix(), "pale": StainMix(haematoxylin=0.55, eosin=0.6, hue=0.9)}


def test_a_pale_stain_shifts_probabilities_and_not_the_ranking(tmp_path: Path):
    rows = ["path,patient,site"]
    for site, mix in STAINS.items():
        for i in range(6):
            recipe = SlideRecipe(mix=mix, glands=0.3, dense=0.35, fat=0.0, pen=None)
            name, seed = f"{site}-{i}.svs", len(rows)
            write_slide(tmp_path / "slides" / name, size_px=(1800, 1500), mpp=0.5, seed=seed, recipe=recipe)
            rows.append(f"{name},{site}{i},{site}")
    (tmp_path / "slides" / "slides.csv").write_text("\n".join(rows) + "\n")
    store = api.create(tmp_path / "store")
    slides = tmp_path / "slides" / "slides.csv"
    store.ingest(slides, extractors="colour-12", execution={"in_process": True}, on_progress=no_progress)
    store.labels.read(
        tmp_path / "slides", task="tumour", author="me", class_map={"dense nuclei": "tumour"}, only=("tumour",),
        negative="normal",
    )  # fmt: skip
    head = store.fit_head(
        "tumour", positive="tumour", where="site = 'usual'", split={"folds": 3}, c=(0.1, 1.0), on_progress=no_progress
    )
    (pale,) = head.evaluate(where="site = 'pale'", on_progress=no_progress).evaluations
    by_name = {each.name: each for each in pale.comparison}
    assert (by_name["auroc"].meaning, by_name["brier"].meaning) == ("alike", "worse")
    assert by_name["balanced_accuracy"].difference.value < -0.2  # type: ignore[union-attr,operator]
    assert pale.verdict.startswith("ranks as well as on its own test parts")
    (tumour,) = pale.calibration
    assert tumour.mean_probability < tumour.frequency - 0.2  # pale nuclei look like none
