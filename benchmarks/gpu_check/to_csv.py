"""Rows of a run go to benchmarks/results/gpu_PART.csv: `python benchmarks/gpu_check/to_csv.py gpu_check.jsonl`."""

import argparse
import csv
import datetime
import json
from pathlib import Path

RESULTS = Path(__file__).resolve().parents[1] / "results"
FIRST = ("date", "device", "cores", "torch", "timm", "numpy")


def add(file: Path, results: Path, date: str) -> dict[str, int]:
    """Append what is not there yet.

    Args:
        date: Of rows that have none.
    Returns:
        Rows appended to each table.
    """
    parts: dict[str, list[dict[str, str]]] = {}
    for line in file.read_text().splitlines():
        row = json.loads(line)
        part = row.pop("part")
        if "took_s" not in row:
            row = {name: value for name, value in row.items() if name != "step"}
            values = {name: value if isinstance(value, str) else json.dumps(value) for name, value in row.items()}
            parts.setdefault(part, []).append({"date": date, **values})
    return {part: _append(results / f"gpu_{part}.csv", rows) for part, rows in parts.items()}


def _append(table: Path, rows: list[dict[str, str]]) -> int:
    there: list[dict[str, str]] = []
    if table.exists():
        with table.open(newline="") as file:
            there = [{name: value for name, value in row.items() if value} for row in csv.DictReader(file)]
    new = [row for row in rows if row not in there]
    names = list(dict.fromkeys([*FIRST, *(name for row in [*there, *new] for name in row)]))
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=names, lineterminator="\n")
        writer.writeheader()
        writer.writerows([*there, *new])
    return len(new)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--date", default=datetime.date.today().isoformat())
    arguments = parser.parse_args()
    print(add(arguments.file, arguments.results, arguments.date))
