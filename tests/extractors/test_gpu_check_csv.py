"""Rows of a run on a GPU become tables, once."""

import csv
import importlib.util
import json
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "gpu_check" / "to_csv.py"


def test_rows_are_appended_once(tmp_path):
    spec = importlib.util.spec_from_file_location("to_csv", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    rows = [
        {"part": "pipeline", "step": "a", "model": "resnet50", "tiles_per_s": 1.5, "device": "card"},
        {"part": "pipeline", "step": "a", "rows": 1, "took_s": 3},
        {"part": "races", "step": "b", "wrong_rows": 0, "date": "2026-01-02"},
    ]
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert module.add(file, tmp_path, "2026-01-01") == {"pipeline": 1, "races": 1}
    file.write_text(file.read_text() + json.dumps({"part": "pipeline", "step": "c", "spread": 0.1}) + "\n")
    assert module.add(file, tmp_path, "2026-01-01") == {"pipeline": 1, "races": 0}
    first, second = csv.DictReader((tmp_path / "gpu_pipeline.csv").read_text().splitlines())
    assert (first["date"], first["device"], first["tiles_per_s"], first["spread"]) == ("2026-01-01", "card", "1.5", "")
    assert second["spread"] == "0.1" and "step" not in first
    (race,) = csv.DictReader((tmp_path / "gpu_races.csv").read_text().splitlines())
    assert (race["date"], race["wrong_rows"]) == ("2026-01-02", "0")
