"""What is exported: slides are chosen by name and by their columns, and what cannot be is said."""

from pathlib import Path

import numpy as np
import pytest

from embedstore.errors import ConfigError, ExportError, HeadNotFoundError, SlideNotInStoreError
from embedstore.export import export_scope
from embedstore.output_files import slide_path
from embedstore.store import Store
from tests.export.prediction_scene import add_folder, grid, make_store
from tests.store.predicted import facts, predict, predict_slides, two


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Slides a to c of two tiles; a and b are predicted."""
    store = make_store(tmp_path, {name: grid(2, 1) for name in ("a.svs", "b.svs", "c.svs")})
    predict(store, facts(), {"a.svs": two([0.1, 0.9]), "b.svs": two([0.2, 0.8])})
    return store


def test_all_predicted_slides_are_chosen_unless_said_otherwise(store: Store):
    scope = export_scope(store, head="lesion")
    assert list(scope.slides) == ["a.svs", "b.svs"] and scope.slide_ids is None
    assert scope.slides["b.svs"].patient == "P1"
    assert list(export_scope(store, head="lesion", where="\"cohort\" <> 'A'").slides) == ["b.svs"]
    assert export_scope(store, head="lesion", slides=["a.svs"]).slide_ids == ["a.svs"]
    assert list(export_scope(store).slides) == ["a.svs", "b.svs", "c.svs"]


def test_what_cannot_be_chosen_is_said(store: Store):
    with pytest.raises(HeadNotFoundError, match="no head 'other'"):
        export_scope(store, head="other")
    with pytest.raises(SlideNotInStoreError, match=r"'d\.svs'"):
        export_scope(store, head="lesion", slides=["d.svs"])
    with pytest.raises(ExportError, match=r"'c\.svs' has no rows .*embedstore predict --head lesion --slide c\.svs"):
        export_scope(store, head="lesion", slides=["a.svs", "c.svs"])
    with pytest.raises(ExportError, match=r"none of the 2 slide.*cohort = 'C'\" holds for 0 slide"):
        export_scope(store, head="lesion", where="cohort = 'C'")
    with pytest.raises(ConfigError, match=r"no column 'kohort'.*did you mean cohort"):
        export_scope(store, head="lesion", where="kohort = 1")


def test_folders_of_tiles_have_no_place(store: Store):
    add_folder(store, "patches", ("x.png", "y.png"))
    predict(store, facts(), {"patches": two([0.5, 0.6])})
    located, folders = export_scope(store, head="lesion").located_slides("png", named=False)
    assert located == ["a.svs", "b.svs"] and folders == ["patches"]
    with pytest.raises(ExportError, match=r"'patches' is a folder of ready-made tiles.* png cannot show them.*csv"):
        export_scope(store, head="lesion", slides=["patches"]).located_slides("png", named=True)


def test_a_head_for_slides_is_shown_by_its_attention(store: Store):
    made = facts(head="grade", level="slide")
    predict_slides(store, made, {"a.svs": two([0.9])[0]}, {"a.svs": np.array([0.2, 0.8])})
    assert export_scope(store, head="grade").tile_values("png").kind == "attention"
    newer = facts(head="grade", level="slide", head_digest="sha256:head-2")
    predict_slides(store, newer, {"a.svs": two([0.9])[0]}, {})
    assert store.predictions("grade", "attention").facts() == newer and not len(store.predictions("grade", "attention"))
    predict_slides(store, made, {"a.svs": two([0.9])[0]}, {"a.svs": np.array([0.2, 0.8])})
    stays = store.predictions("grade", "attention").table().to_batches()
    store.predictions("grade", "attention").write(newer, stays, slides=["a.svs"])
    with pytest.raises(ExportError, match=r"'grade' predicts a whole slide.*export it as csv"):
        export_scope(store, head="grade").tile_values("png")
    with pytest.raises(ExportError, match="png shows predictions; name the head"):
        export_scope(store).tile_values("png")


def test_files_lie_by_the_ids_of_their_slides_and_never_outside(tmp_path: Path):
    assert slide_path(tmp_path, "sub/a.svs", ".png", single=False) == tmp_path / "sub" / "a.svs.png"
    assert slide_path(tmp_path, "../../a.svs", ".png", single=False) == tmp_path / "_" / "_" / "a.svs.png"
    assert slide_path(tmp_path, "/etc/a", ".png", single=True) == tmp_path / "etc" / "a.png"
    assert slide_path(tmp_path / "x" / "map.PNG", "a", ".png", single=True) == tmp_path / "x" / "map.PNG"
    with pytest.raises(ExportError, match="is one file, and there are several slides"):
        slide_path(tmp_path / "map.png", "a", ".png", single=False)
