"""The benchmark of search runs, small, and its own arithmetic is right."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def run(results: Path, *arguments: str) -> dict[str, list[dict[str, str]]]:
    environment = {**os.environ, "EMBEDSTORE_RESULTS": str(results)}
    command = [sys.executable, str(BENCHMARKS / "search.py"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, env=environment)
    assert done.returncode == 0, done.stderr
    return {file.stem: list(csv.DictReader(file.read_text().splitlines())) for file in results.iterdir()}


@pytest.mark.slow
def test_truth_is_that_of_a_search_through_everything(scripts, tmp_path):
    from search_data import COHORTS, Bench, unit

    bench = Bench.at(tmp_path, 3000, 32)
    truths, scores = bench.truths, unit(bench.queries) @ bench.matrix().T
    for name, share in {"all": 1.0, **COHORTS}.items():
        mask = truths[f"mask_{name}"]
        assert abs(mask.sum() - max(share * 3000, 10)) < 1  # ten slides of a tile at least
        masked = np.where(mask, scores, -np.inf)
        best = truths["tile_id"][np.argsort(-masked, axis=1, kind="stable")[:, :10]]
        assert np.mean(np.sort(best, axis=1) == np.sort(truths[f"near_{name}"], axis=1)) > 0.999


def test_queries_are_none_of_the_rows_and_are_the_same_each_time(scripts, tmp_path):
    from search_data import Bench, unit

    bench = Bench.at(tmp_path, 1000, 32)
    again = Bench.at(tmp_path, 1000, 32)
    np.testing.assert_array_equal(bench.queries, again.queries)
    assert (unit(bench.queries) @ bench.matrix().T).max() < 0.9999


def test_slopes_that_were_planted_come_out_again(scripts):
    from search_scale import fit

    from embedstore.store.nearest import SPARE

    sizes = ((100_000, 316), (300_000, 548), (1_000_000, 1000))
    speed = [
        {
            "rows": str(n), "partitions": str(p), "index_mb": str((112 * n + 1600 * p) / 1e6),
            "disk_mb": str((1560 * n + 112 * n + 1600 * p) / 1e6),
            "build_peak_mb": str(300 + 100 * n / 1e6), "resident_mb": str(180 + (112 * n + 1600 * p) / 1e6),
        }
        for n, p in sizes
    ]  # fmt: skip
    builds = [
        {
            "rows": str(n), "partitions": str(p), "index_mb": str((112 * n + 1600 * p) / 1e6),
            "build_s": str(20e-6 * n + 15e-9 * n * p + 5000e-9 * p * p), "assign_ns": "15", "centre_ns": "200",
        }
        for n, usual in sizes for p in (usual, 4 * usual)
    ]  # fmt: skip
    reads = [{"rows": str(n), "index_p50_ms": "5", "cold_index_p50_ms": "9", "reads_a_query": "118"} for n, _ in sizes]
    effort = [
        {
            "rows": str(n), "partitions": str(p), "probes": str(probes), "refine": str(refine), "kept": "1.0",
            "p50_ms": str(1.5 + 40 * probes * n / p / 1e6 + 200 * p / 1e6 + 8 * refine * (10 + SPARE) / 1e3),
        }
        for n, p in sizes for probes in (5, 20, 80) for refine in (2, 10)
    ]  # fmt: skip
    effort += [{"rows": str(n), "kept": "1.0", "probes": "", "p50_ms": str(500 * n / 1e6)} for n, _ in sizes]
    found = fit(speed, reads, effort, builds)
    planted = {
        "row_bytes": 1560, "code_bytes": 112, "partition_bytes": 1600, "base_mb": 180, "build_us": 20,
        "assign_ns": 15, "train_ns": 5000,
        "peak_mb": 400, "ask_ms": 1.5, "scan_ns": 40, "centre_ns": 200, "refine_us": 8,
        "cold_ms": 4, "reads": 118, "exact_ms": 500,
    }  # fmt: skip
    for name, value in planted.items():
        assert getattr(found, name) == pytest.approx(value, rel=1e-3), name
    # 20 of 4,096 partitions of 100 million tiles: 488,281 codes, 4,096 centres, candidates of 8 µs
    assert found.query_ms(1e8, 4096, 20, 10) == pytest.approx(1.5 + 19.53 + 0.82 + 0.08 * (10 + SPARE), abs=0.01)
    assert found.build_bytes(1e8) == pytest.approx(400e6 + 124e8, rel=1e-3)
    assert found.build_s(1e8, 4096) == pytest.approx(2000 + 6144 + 83.9, rel=1e-3)


def test_only_what_stands_between_the_marks_is_written(scripts):
    from search_scale import filled

    page = "before\n<!-- a -->\nold\n<!-- /a -->\nafter <!-- b -->"
    once = filled(page, "a", "new")
    assert once == "before\n<!-- a -->\nnew\n<!-- /a -->\nafter <!-- b -->"
    assert filled(once, "a", "new") == once
    assert filled("<!-- a -->\n<!-- /a -->", "a", "new") == "<!-- a -->\nnew\n<!-- /a -->"
    with pytest.raises(SystemExit):
        filled(page, "b", "new")


@pytest.mark.slow
@pytest.mark.benchmark
def test_each_filter_has_a_row_of_embedstore(tmp_path):
    found = run(
        tmp_path / "results", "speed", "--rows", "3000", "--dim", "32", "--work", str(tmp_path / "work"),
        "--seconds", "0.05", "--peers", "embedstore",
    )  # fmt: skip
    rows = found["search_speed"]
    assert [row["kept"] for row in rows] == ["1.0", "0.01", "0.001"]
    assert all(float(row["qps_8_threads"]) > 0 for row in rows)
    assert [row["qps_8_processes"] != "" for row in rows] == [True, False, False]  # processes ask without a filter
    assert all(float(row["recall_at_10"]) > 0.95 for row in rows[1:])


@pytest.mark.slow
@pytest.mark.benchmark
def test_slides_are_whole_while_others_are_committed(tmp_path):
    sizes = ["--slides", "10", "--tiles", "200", "--dim", "32"]
    (row,) = run(tmp_path / "results", "concurrent", "--work", str(tmp_path / "work"), *sizes)["search_concurrent"]
    assert (row["errors"], row["partial_slides"], row["vanished_slides"]) == ("0", "0", "0"), row["first_error"]
    assert int(row["queries"]) > 20
