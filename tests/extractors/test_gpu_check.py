"""What is measured on a GPU runs on the CPU, small, and goes on where it was cut off."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "gpu_check"
PARTS = {"own", "pipeline", "heads", "tuning", "augmenter", "decoding", "forward", "races", "precision"}


@pytest.mark.slow
@pytest.mark.benchmark
def test_every_part_runs_and_none_runs_twice(tmp_path):
    command = [sys.executable, SCRIPT, "--device", "cpu", "--small", "--out", tmp_path]
    first = subprocess.run([*command, "--seconds", "2000"], check=True, capture_output=True, text=True, timeout=2100)
    rows = [json.loads(line) for line in (tmp_path / "gpu_check.jsonl").read_text().splitlines()]
    assert {row["part"] for row in rows} == PARTS and "nothing was left out" in first.stdout
    ends = [row for row in rows if "took_s" in row]
    assert ends and all("error" not in row and row["rows"] > 0 for row in ends)
    # One way does not fit one network; it costs no other row.
    assert {row["way"].split()[2] for row in rows if "error" in row} == {"folded"}
    assert all(row["wrong_rows"] == 0 for row in rows if "wrong_rows" in row)
    again = subprocess.run([*command, "--seconds", "9"], check=True, capture_output=True, text=True, timeout=900)
    assert "nothing was left out" in again.stdout and again.stdout.count("\n") == 2


@pytest.mark.slow
@pytest.mark.benchmark
def test_what_there_was_no_time_for_is_named(tmp_path):
    command = [sys.executable, SCRIPT, "--device", "cpu", "--small", "--out", tmp_path, "--seconds", "0"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=900)
    assert "no time for:\nown: own extractor (about 1 s)" in done.stdout
