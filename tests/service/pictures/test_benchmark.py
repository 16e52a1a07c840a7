"""The benchmark of deep-zoom tiles runs, and times every level."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[3] / "benchmarks" / "service_tiles.py"


@pytest.mark.benchmark
@pytest.mark.slow
def test_it_runs(drawn_slide, tmp_path: Path):
    environment = {**os.environ, "EMBEDSTORE_RESULTS": str(tmp_path)}
    for command in (["tiles", "--tiles", "2"], ["grid"]):
        done = subprocess.run(
            [sys.executable, str(SCRIPT), *command, str(drawn_slide())],
            capture_output=True,
            text=True,
            timeout=900,
            env=environment,
        )
        assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader((tmp_path / "service_tiles.csv").read_text().splitlines()))
    assert [int(row["level"]) for row in rows] == list(range(10, 2, -1))
    assert all(float(row["cpu_p50_ms"]) > 0 and float(row["openslide_p50_ms"]) > 0 for row in rows)
    assert len((tmp_path / "service_tiles_grid.csv").read_text().splitlines()) == 7
