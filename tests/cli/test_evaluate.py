"""`embedstore evaluate` as it is typed."""

import csv
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli.main import app
from embedstore import api
from tests.heads.cohorts.conftest import Hospitals
from tests.heads.cohorts.conftest import hospitals as hospitals
from tests.heads.scene import COLLECTION

pytestmark = pytest.mark.slow


def run(hospitals: Hospitals, *arguments: str) -> Result:
    done = CliRunner().invoke(app, ["evaluate", "--store", hospitals.here.uri, "--bootstrap", "100", *arguments])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def test_what_is_printed_is_what_python_gives(hospitals: Hospitals):
    options = ("--head", "tile", "--head", "mean", "--on-store", hospitals.there.uri, "--by", "site")
    printed = json.loads(run(hospitals, *options, "--json").stdout)
    there = api.open(hospitals.there.uri).collection(COLLECTION)
    found = api.open(hospitals.here.uri).evaluate(["tile", "mean"], collection=there, by="site", bootstrap=100)
    assert printed == found.as_record()


def test_a_card_and_a_table_for_people_with_notes_beside_it(hospitals: Hospitals):
    card = run(hospitals, "--head", "tile", "--where", "site = 'C'")
    assert "linear head for 'tissue' on toy; 240 tiles of 3 patients" in card.stdout
    assert "difference" in card.stdout and "reliability of tumour" in card.stdout
    assert "tile no difference from its own test parts can be told" in card.stderr
    table = run(hospitals, "--head", "tile", "--by", "site")
    lines = table.stdout.splitlines()
    assert [line.split()[:2] for line in lines[1:]] == [["tile", f"site={site}"] for site in "ABC"]
    assert "tile on site=A: cannot be evaluated: all of its 240 labelled tiles" in table.stderr
    assert table.exit_code == 0


def test_files_are_written_whole(hospitals: Hospitals, tmp_path: Path):
    rows = tmp_path / "rows.csv"
    run(
        hospitals,
        "--head",
        "tile",
        "--head",
        "mean",
        "--by",
        "site",
        "--out",
        str(tmp_path),
        "--predictions",
        str(rows),
    )
    page = (tmp_path / "evaluation.html").read_text()
    assert "tile on site=C" in page and "<script" not in page and "http-equiv" in page
    assert (tmp_path / "evaluation.png").read_bytes()[:4] == b"\x89PNG"
    metrics = list(csv.DictReader((tmp_path / "evaluation.csv").read_text().splitlines()))
    auroc = next(row for row in metrics if (row["head"], row["cohort"], row["metric"]) == ("tile", "C", "auroc"))
    assert float(auroc["difference"]) == pytest.approx(float(auroc["value"]) - float(auroc["test"]))
    assert {row["cohort"] for row in csv.DictReader(rows.read_text().splitlines())} == {"C"}


def test_a_head_that_cannot_be_evaluated_beside_one_that_can_ends_with_3(hospitals: Hospitals):
    done = run(hospitals, "--head", "holdout", "--head", "tile", "--where", "site <> 'C'")
    assert done.exit_code == 3
    assert "tile on slides of toy where site <> 'C': cannot be evaluated" in done.stderr


def test_a_renaming_without_a_name_is_wrong_usage(hospitals: Hospitals):
    done = run(hospitals, "--head", "tile", "--class-map", "tumor")
    assert done.exit_code == 2 and "expected OLD=NEW" in done.stderr
