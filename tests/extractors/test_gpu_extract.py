"""The GPU benchmark runs on the CPU, small."""

import csv
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "gpu_extract.py"


@pytest.mark.slow
@pytest.mark.benchmark
def test_it_writes_a_row_and_loses_no_tile(tmp_path):
    sizes = ["--tiles", "70", "--batch", "16", "--readers", "2", "--rounds", "1"]
    command = [sys.executable, SCRIPT, "--device", "cpu", "--model", "resnet10t", *sizes, "--out", tmp_path / "out.csv"]
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
    (row,) = csv.DictReader((tmp_path / "out.csv").read_text().splitlines())
    assert (row["model"], row["precision"], row["tiles"]) == ("resnet10t", "fp32", "70")
    assert float(row["pipeline_tiles_per_s"]) > 0
