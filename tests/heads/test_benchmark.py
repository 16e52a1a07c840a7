"""The benchmark of heads runs, small, and its own rows say what they should."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "fit_head.py"


def run(results: Path, *arguments: str) -> list[dict[str, str]]:
    environment = {**os.environ, "EMBEDSTORE_RESULTS": str(results)}
    command = [sys.executable, SCRIPT, *arguments]
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=900, env=environment)
    (file,) = results.iterdir()
    return list(csv.DictReader(file.read_text().splitlines()))


@pytest.mark.slow
@pytest.mark.benchmark
def test_grid_has_a_row_for_each_side_and_all_of_them_learn(tmp_path):
    rows = run(tmp_path, "grid", "--vectors", "1000", "--dim", "32", "--steps", "300", "--rounds", "1")
    assert [row["heads"] for row in rows] == ["1", "1", "1", "1", "64", "64", "6", "50"]
    assert all(float(row["test_auroc"]) > 0.6 and float(row["wall_s"]) > 0 for row in rows)


@pytest.mark.slow
@pytest.mark.benchmark
def test_second_call_with_the_same_shapes_compiles_nothing(tmp_path):
    rows = run(tmp_path, "compilations", "--vectors", "1000", "--dim", "32")
    counts = {(row["head"], row["call"]): int(row["compilations"]) for row in rows}
    assert all(count > 0 for (_, call), count in counts.items() if call == "first")
    assert all(count == 0 for (_, call), count in counts.items() if call in ("second", "other data"))


@pytest.mark.slow
@pytest.mark.benchmark
def test_large_store_comes_out_as_a_head(tmp_path):
    store, results = tmp_path / "stores", tmp_path / "results"
    sizes = ["--slides", "12", "--tiles", "100", "--patients", "6", "--dim", "16"]
    cold, warm = run(
        results, "large", "--store", str(store), *sizes, "--", "--split", "holdout", "--optimizer", "adamw"
    )
    assert (cold["vectors"], cold["dim"], warm["optimizer"]) == ("1200", "16", "adamw")
    assert cold["auroc"] == warm["auroc"] and float(cold["auroc"]) > 0.6
