"""The command line and the Python API make the same store of the same slides."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from click.testing import CliRunner

import embedstore
from cli.main import app
from embedstore.progress import no_progress
from synthetic_slides import SlideRecipe, StainMix, write_slide

pytestmark = pytest.mark.slow
RECIPE = SlideRecipe(mix=StainMix(), glands=0.2, dense=0.45, fat=0.05, pen=None)
HEAD = "dense-linear"


@pytest.fixture(scope="module")
def slides(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three annotated slides of three patients, and one file that is no slide."""
    folder = tmp_path_factory.mktemp("two-ways")
    for i in range(3):
        write_slide(folder / f"s{i}.svs", size_px=(2048, 1536), seed=i, recipe=RECIPE)
    (folder / "torn.svs").write_bytes(b"II*\0" + b"nothing of a slide")
    rows = ["path,patient,stain", *(f"s{i}.svs,P{i},HE" for i in range(3)), "torn.svs,P9,HE"]
    (folder / "slides.csv").write_text("\n".join(rows) + "\n")
    return folder


def run(*args: object, code: int = 0) -> None:
    result = CliRunner().invoke(app, list(map(str, args)))
    assert result.exit_code == code, result.output


@pytest.fixture(scope="module")
def by_shell(slides: Path) -> embedstore.Store:
    store = slides / "by-shell"
    run("ingest", slides / "slides.csv", "-s", store, "-e", "colour-12", "--views", 2, "--in-process", code=3)
    run("label", "import", slides, "-s", store, "--task", "dense", "--only", "dense nuclei", "--negative", "other",
        "--author", "me")  # fmt: skip
    run("fit-head", "-s", store, "--task", "dense", "--positive", "dense nuclei", "--folds", 3)
    run("predict", "-s", store, "--head", HEAD)
    run("export", "-s", store, "--head", HEAD, "--format", "csv", "--out", slides / "by-shell.csv")
    return embedstore.open(store)


@pytest.fixture(scope="module")
def by_python(slides: Path) -> embedstore.Store:
    store = embedstore.create(slides / "by-python")
    result = store.ingest(
        slides / "slides.csv", extractors="colour-12", views=2, execution={"in_process": True}, on_progress=no_progress
    )
    assert result["slide_id"] == ["torn.svs"] and result["state"] == ["failed"]
    store.labels.read(slides, task="dense", only=("dense nuclei",), negative="other", author="me")
    head = store.fit_head("dense", positive="dense nuclei", split={"folds": 3}, on_progress=no_progress)
    head.predict(on_progress=no_progress)
    head.export(slides / "by-python.csv", on_progress=no_progress)
    return store


def without_times(table: pa.Table) -> list[dict[str, Any]]:
    """The rows in one order, without what a clock or a run's name decides."""
    dropped = {"updated_at", "created_at", "run_id", "first", "last"}
    names = [name for name in table.column_names if name not in dropped and not name.endswith("_s")]
    return sorted(table.select(names).to_pylist(), key=repr)


def test_slides_and_outcomes(by_shell: embedstore.Store, by_python: embedstore.Store):
    assert without_times(by_shell.slides.to_arrow()) == without_times(by_python.slides.to_arrow())
    assert without_times(by_shell.status.to_arrow()) == without_times(by_python.status.to_arrow())


def test_tiles_vectors_and_views(by_shell: embedstore.Store, by_python: embedstore.Store):
    one, other = by_shell.collection(), by_python.collection()
    assert one.name == other.name and one.record == other.record and len(one) > 20
    assert (
        one.tiles(columns=["tile_id", "slide_id", "x", "y", "tissue"])
        .to_arrow()
        .equals(other.tiles(columns=["tile_id", "slide_id", "x", "y", "tissue"]).to_arrow())
    )
    assert one.vectors().tobytes() == other.vectors().tobytes()
    assert by_shell.count_views(one.name) == by_python.count_views(other.name) == 2 * len(one)


def test_labels_heads_and_predictions(by_shell: embedstore.Store, by_python: embedstore.Store, slides: Path):
    assert without_times(by_shell.labels.table("dense").to_arrow()) == without_times(
        by_python.labels.table("dense").to_arrow()
    )
    assert by_shell.head(HEAD).digest == by_python.head(HEAD).digest
    assert without_times(by_shell.head(HEAD).predictions.to_arrow()) == without_times(
        by_python.head(HEAD).predictions.to_arrow()
    )
    assert (slides / "by-shell.csv").read_bytes() == (slides / "by-python.csv").read_bytes()


def test_search_and_audit(by_shell: embedstore.Store, by_python: embedstore.Store):
    tile = by_shell.collection().tiles(limit=1)["tile_id"][0]
    filtered = 'tissue > 0.5 AND "dense-linear".p_other > 0.1'
    found = [store.collection().search(tile, k=5, where=filtered).to_arrow() for store in (by_shell, by_python)]
    assert len(found[0]) == 5 and found[0].equals(found[1])
    leaks = [store.collection().find_leaks(on_progress=no_progress).pairs for store in (by_shell, by_python)]
    assert leaks[0].equals(leaks[1])
