"""One scenario on both faces: heads are fitted, used, exported and removed, and slides checked and removed."""

import io
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import embedstore
from embedstore.errors import (
    ConfigError,
    ExportError,
    HeadExistsError,
    HeadNotFoundError,
    JobEndedError,
    PredictionsNotFoundError,
    SlideNotInStoreError,
    TaskNotFoundError,
)
from embedstore.progress import Progress, no_progress
from embedstore.service_config import ServiceConfig
from tests.client.served import served
from tests.client.served_by import connect_by
from tests.heads.scene import make_store
from tests.service.jobs.conftest import ENDLESS
from tests.slides.drawings import tissue_picture, write_tiff

pytestmark = pytest.mark.slow

QUICK = {"bootstrap": 0, "split": {"folds": 3}}
SLIDE = "s03.svs"


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory):
    """The same store twice: opened in its folder, and by a service of the other."""
    folder = tmp_path_factory.mktemp("fitting")
    tables = make_store(folder)
    write_tiff(folder / SLIDE, tissue_picture(4096, 2560), factors=(1, 4), mpp=0.5)
    row = tables.ledger.slide(SLIDE)
    assert row is not None
    tables.ledger.record([replace(row, path=str(folder / SLIDE), width_l0=4096, height_l0=2560, slide_mpp=0.5)], [])
    shutil.copytree(folder / "store", folder / "served")
    config = ServiceConfig(spool=str(folder / "spool"))
    with served(str(folder / "served"), config) as socket, connect_by(socket) as remote:
        yield embedstore.open(folder / "store"), remote


def use_heads(store: Any, folder: Path) -> dict[str, Any]:
    """Fit, look at, use, export and remove heads; what comes out, as plain values."""
    seen: list[Progress] = []
    head = store.fit_head("tissue", name="cells", positive="tumour", on_progress=seen.append, **QUICK)
    config = embedstore.FitConfig(model="mean", level="slide", bootstrap=0, split=embedstore.SplitConfig(folds=3))
    grade = store.fit_heads(["grade"], config, where="site <> 'D'", on_progress=no_progress)[0]
    before = head.has_predicted
    predicted = head.predict(on_progress=no_progress)
    again = head.predict(slides=SLIDE, on_progress=no_progress)
    anew = head.predict(replace=True, on_progress=no_progress)
    split = io.StringIO()
    head.write_split(split)
    exports = {
        "one table": head.export(folder / "rows.parquet", on_progress=no_progress),
        "a slide's shapes": head.export(folder / "one.geojson", slides=SLIDE, merge=True, on_progress=no_progress),
        "shapes of two": head.export(
            folder / "qupath", format="geojson", slides=[SLIDE, "s04.svs"], on_progress=no_progress
        ),
        "slides": store.export(folder / "slides.csv", format="slides", head="cells", on_progress=no_progress),
        "vectors": store.collection().export(folder / "v.csv", where="site = 'A'", on_progress=no_progress),
    }
    raster, fitted_again = head.raster(SLIDE), head.fit_again(on_progress=no_progress)
    collection = store.collection()
    leaks = collection.find_leaks(sample=50, distance=0.2, on_progress=no_progress)
    split_leaks = collection.find_leaks(head="cells", sample=50, distance=0.2, on_progress=no_progress)
    outliers = collection.find_outliers(sample=50, on_progress=no_progress)
    duplicates = collection.find_duplicates(sample=50, on_progress=no_progress)
    summary = {
        "stages": {progress.stage for progress in seen},
        "heads": [each.name for each in store.heads],
        "facts": [(h.name, h.task, h.model, h.level, h.collection, h.classes, h.digest) for h in (head, grade)],
        "named": repr(store.head("cells")),
        "report": head.report.as_record(),
        "metrics": {name: (each.value, each.low, each.high) for name, each in head.metrics.items()},
        "record": json.loads(json.dumps({k: v for k, v in head.as_record().items() if k != "seconds"})),
        "card": head._repr_html_(),
        "curves": head.plot().size,
        "curve files": sorted(path.name for path in head.write_curves(folder)),
        "split": split.getvalue(),
        "predicted": (before, store.head("cells").has_predicted, predicted, again, anew),
        "predictions": head.predictions.to_pylist(),
        "exports": {name: exported(result, folder) for name, result in exports.items()},
        "files": {
            str(file.relative_to(folder)): contents(file)
            for file in sorted(folder.rglob("*"))
            if file.suffix in (".geojson", ".csv")
        },
        "heat map": np.asarray(head.heat_map(SLIDE, picture_px=300)).tolist(),
        "raster": (raster.planes, raster.origin_l0, raster.step_l0, raster.values.astype(np.float16).tolist()),
        "again": fitted_again.same,
        "leaks": (leaks.pairs.to_pylist(), leaks.distance, leaks.sampled, leaks.notes, len(split_leaks)),
        "outliers": (outliers.tiles.to_pylist(), outliers.slides.to_pylist(), outliers.limit, len(outliers)),
        "duplicates": (duplicates.pairs, duplicates.distance),
        "index": collection.update_index(kind="flat", on_progress=no_progress),
        "found": store.find_slides(slides=[SLIDE], patients="P00"),
    }  # fmt: skip
    grade.remove()
    summary["removed"] = store.remove(slides=[SLIDE])
    summary["left"] = (len(store.slides), [each.name for each in store.heads])
    summary["compacted"] = {name: sizes.keys() for name, sizes in store.compact(on_progress=no_progress).items()}
    return summary


def exported(result: Any, folder: Path) -> tuple[Any, ...]:
    files = [(file.path.relative_to(folder), file.rows, file.slide_id) for file in result.files]
    return result.slides, result.unit, result.notes, files


def contents(file: Path) -> Any:
    return json.loads(file.read_text()) if file.suffix == ".geojson" else file.read_text()


def refusals(store: Any, folder: Path) -> list[tuple[type, str]]:
    """What cannot be done, each with the error."""
    store.fit_head("tissue", name="taken", on_progress=no_progress, **QUICK)
    (folder / "full").mkdir()
    wrong = [
        (TaskNotFoundError, lambda: store.fit_head("colour")),
        (HeadExistsError, lambda: store.fit_head("tissue", name="taken", **QUICK)),
        (ConfigError, lambda: store.fit_head("tissue", steps="many")),
        (ConfigError, lambda: store.fit_head("tissue", colour="red")),
        (HeadNotFoundError, lambda: store.head("takn")),
        (PredictionsNotFoundError, lambda: store.head("taken").predictions),
        (PredictionsNotFoundError, lambda: store.head("taken").export(folder / "a.csv")),
        (SlideNotInStoreError, lambda: store.head("taken").predict(slides=["s99.svs"])),
        (SlideNotInStoreError, lambda: store.remove(slides=["s99.svs"])),
        (ConfigError, lambda: store.export(folder / "a.doc")),
        (ExportError, lambda: store.collection().export(folder / "full", format="csv")),
        (ExportError, lambda: store.export(folder / "map", format="dicom")),
        (ConfigError, lambda: store.collection().export(folder / "a.csv", where="colour = 1")),
        (ConfigError, lambda: store.collection().find_leaks(head="taken", distance=-1.0)),
    ]
    found = []
    for kind, call in wrong:
        with pytest.raises(kind) as refused:
            call()
        found.append((type(refused.value), str(refused.value).replace(str(folder), "")))
    return found


def test_both_faces_fit_and_use_heads_alike(stores, tmp_path: Path):
    results = []
    for number, store in enumerate(stores):
        (tmp_path / str(number)).mkdir()
        results.append((use_heads(store, tmp_path / str(number)), refusals(store, tmp_path / str(number))))
    (expected, refused), (given, refused_over) = results
    for name in expected:
        assert given[name] == expected[name], name
    for (kind, message), (kind_over, message_over) in zip(refused, refused_over, strict=True):
        assert kind_over is kind and len(message_over) > 20, (message, message_over)


def test_an_interrupted_call_cancels_its_job(stores):
    remote = stores[1]

    def interrupt(progress: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        remote.fit_head("tissue", name="given-up", on_progress=interrupt, **ENDLESS)
    job = remote._connection.get("/api/jobs", kind="fit", limit=1)[0]
    assert job["params"]["names"] == ["given-up"]
    with pytest.raises(JobEndedError, match=f"job {job['id']} was cancelled: "):
        from embedstore.client.jobs import run_job

        run_job(remote._connection, job, no_progress)
    assert "given-up" not in [head.name for head in remote.heads]
