"""The benchmark of the service runs, small: a server, clients of another process, and a row for each number of them."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.benchmark
def test_each_filter_and_number_of_clients_has_a_row(tmp_path: Path):
    folders = {"EMBEDSTORE_RESULTS": str(tmp_path / "results"), "EMBEDSTORE_CACHE": str(tmp_path / "cache")}
    script = [str(REPOSITORY / "benchmarks" / "service_http.py"), "search", "--work", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, *script, "--rows", "2000", "--dim", "32", "--seconds", "0.3"],
        capture_output=True, text=True, timeout=300, check=False,
        env={**os.environ, **folders, "PYTHONPATH": str(REPOSITORY)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader((tmp_path / "results" / "service_http.csv").read_text().splitlines()))
    assert len(rows) == 9 and all(row["failed"] == "0" and int(row["requests"]) > 0 for row in rows)
