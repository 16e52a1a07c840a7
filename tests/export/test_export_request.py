"""One call writes every format, to one file or to a file for each slide."""

from pathlib import Path

import pytest

from embedstore.errors import ConfigError, ExportError
from embedstore.export import ExportedFile, ExportRequest, export
from embedstore.progress import Progress
from embedstore.store import Store
from tests.export.prediction_scene import add_folder, grid, make_store
from tests.store.predicted import facts, predict, two


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Two slides of two and three tiles, and a folder of one."""
    store = make_store(tmp_path, {"a.svs": grid(2, 1), "b.svs": grid(3, 1)})
    add_folder(store, "patches", ("x.png",))
    probabilities = {"a.svs": two([0.1, 0.9]), "b.svs": two([0.2, 0.8, 0.6]), "patches": two([0.9])}
    predict(store, facts(), probabilities)
    return store


def test_a_file_for_each_slide_with_progress_and_notes(store: Store, tmp_path: Path):
    reports: list[Progress] = []
    request = ExportRequest(format="geojson", path=tmp_path / "out", head="lesion")
    result = export(store, request, on_progress=reports.append)
    assert result.files == (
        ExportedFile(path=tmp_path / "out" / "a.svs.geojson", rows=2, slide_id="a.svs"),
        ExportedFile(path=tmp_path / "out" / "b.svs.geojson", rows=3, slide_id="b.svs"),
    )
    assert (result.slides, result.unit) == (3, "objects")
    assert repr(result).splitlines() == [
        "3 slide(s), 5 objects in 2 file(s)",
        f"  {tmp_path / 'out' / 'a.svs.geojson'}",
        f"  {tmp_path / 'out' / 'b.svs.geojson'}",
        "  note: 'patches' is a folder of ready-made tiles, which geojson cannot show",
    ]
    assert result.notes == ("'patches' is a folder of ready-made tiles, which geojson cannot show",)
    assert [(each.done, each.total, each.unit) for each in reports] == [(1, 2, "slides"), (2, 2, "slides")]


def test_one_file_of_all_slides(store: Store, tmp_path: Path):
    result = export(store, ExportRequest(format="csv", path=tmp_path / "x.csv", head="lesion"))
    assert result.files == (ExportedFile(path=tmp_path / "x.csv", rows=6),) and result.unit == "rows"
    with pytest.raises(ExportError, match=r"is a folder; anndata writes one file, such as .*tiles\.h5ad"):
        export(store, ExportRequest(format="anndata", path=tmp_path, head="lesion"))


def test_requests_are_checked(tmp_path: Path):
    with pytest.raises(ConfigError, match="format is 'pdf'; expected one of geojson"):
        ExportRequest(format="pdf", path=tmp_path)
    with pytest.raises(ConfigError, match="a head knows its collection"):
        ExportRequest(format="csv", path=tmp_path, head="lesion", collection="toy")
