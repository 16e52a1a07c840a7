"""The benchmark of the service runs, small: a server, clients of another process, and a row for each number of them."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


pytestmark = [pytest.mark.slow, pytest.mark.benchmark]


def rows_of(script: str, folder: Path, *arguments: str) -> list[dict[str, str]]:
    """The rows that a benchmark writes."""
    folders = {"EMBEDSTORE_RESULTS": str(folder / "results"), "EMBEDSTORE_CACHE": str(folder / "cache")}
    done = subprocess.run(
        [sys.executable, str(REPOSITORY / "benchmarks" / f"{script}.py"), *arguments, "--work", str(folder)],
        capture_output=True, text=True, timeout=900, check=False,
        env={**os.environ, **folders, "PYTHONPATH": str(REPOSITORY)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return list(csv.DictReader((folder / "results" / f"{script}.csv").read_text().splitlines()))


def test_each_filter_and_number_of_clients_has_a_row(tmp_path: Path):
    rows = rows_of("service_http", tmp_path, "search", "--rows", "2000", "--dim", "32", "--seconds", "0.3")
    assert len(rows) == 9 and all(row["failed"] == "0" and int(row["requests"]) > 0 for row in rows)


def test_each_turn_of_the_page_has_a_row(tmp_path: Path):
    rows = rows_of("page_loop", tmp_path, "--tiles", "1000", "--dim", "32", "--rounds", "2")
    assert [row["marks"] for row in rows] == ["60", "70", "60", "70"]
    assert all(float(row["heat_map_s"]) <= float(row["all_s"]) for row in rows)
