"""`embedstore evaluate`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.flags import Flag, Section
from cli.json_log import log_json_option
from cli.options import class_map_of, json_option, print_json, print_notes, print_table, store_option, where_option
from embedstore.errors import shown_on_a_line
from embedstore.output_files import require_folder
from heads.config import EvaluateConfig

if TYPE_CHECKING:
    from embedstore.api import Evaluations
    from heads.cohorts.evaluation import CohortEvaluation
    from heads.evaluation.report import Metric

EVALUATE = Section(
    "evaluate",
    EvaluateConfig,
    Flag("by", metavar="COLUMN"),
    Flag("task", metavar="NAME"),
    Flag("keep_seen", help="Also count examples of patients and slides that the head was fitted on."),
    Flag("same_extractor", help="Take vectors whose extractor has another digest, or an unknown one, for those of the "
         "head's extractor. The result says so."),
    "bootstrap",
    "seed",
)  # fmt: skip


@click.command(epilog="Example:  embedstore evaluate --store my-store --head tumour-linear --by cohort")
@store_option
@click.option("--head", "heads", multiple=True, required=True, metavar="NAME",
              help="A head; `embedstore heads` lists them. Repeatable: the vectors are read once for all.")  # fmt: skip
@click.option("--collection", "-c", metavar="NAME",
              help="A collection of the same extractor.  [default: the one that the head was fitted on; of another "
              "store, the only one]")  # fmt: skip
@click.option("--on-store", metavar="PATH|URI",
              help="Another store, whose slides and labels are evaluated on.")  # fmt: skip
@where_option
@click.option("--class-map", multiple=True, metavar="OLD=NEW",
              help="Rename a class of the labels to the head's name of it; repeatable.")  # fmt: skip
@click.option("--leave-out", multiple=True, metavar="CLASS",
              help="A class of the labels whose places are left out; repeatable.")  # fmt: skip
@EVALUATE
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), metavar="FOLDER",
              help="Write evaluation.html, .png, .csv (a row a metric) and .json here.")  # fmt: skip
@click.option("--predictions", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="Write each example with its label and probabilities to a .csv, .parquet or .json.")  # fmt: skip
@log_json_option
@json_option
def command(
    store: str, heads: tuple[str, ...], collection: str | None, on_store: str | None, where: str | None,
    class_map: tuple[str, ...], leave_out: tuple[str, ...], out: Path | None, predictions: Path | None, as_json: bool,
    **options: Any,
) -> None:  # fmt: skip
    """Evaluate heads on labelled slides that they were not fitted on: another cohort, site, collection or store.

    The metrics are at the head's stored threshold and temperature, with 95 % intervals by patient, beside those of its
    own test parts. Patients and slides that it was fitted on are left out. Exit code 3: a head could not be evaluated
    on any cohort.
    """
    settings = {
        **EVALUATE.given(options),
        **({"class_map": class_map_of(class_map)} if class_map else {}),
        **({"leave_out": leave_out} if leave_out else {}),
    }
    from embedstore import api

    opened = api.open(store)
    on = collection if on_store is None else api.open(on_store).collection(collection)
    if out is not None:
        require_folder(out)  # fail before the work, not after it
    found = opened.evaluate(heads, collection=on, where=where, predictions=predictions, **settings)
    if as_json:
        print_json(found.as_record())
    elif len(found.evaluations) == 1:
        _print_card(found.evaluations[0])
    else:
        _print_table(found)
    if out is not None:
        click.echo(", ".join(str(path) for path in found.write(out)), err=True)
    if predictions is not None:
        click.echo(str(predictions), err=True)
    evaluated = {each.head for each in found.evaluations if each.report is not None}
    if evaluated < set(heads):
        sys.exit(3)


def _print_card(each: "CohortEvaluation") -> None:
    from heads.evaluation.report import METRIC_NAMES

    assert each.report is not None
    click.echo(shown_on_a_line(f"{each.head} on {each.cohort_name}: {each.description}"))
    no_skill = each.report.no_skill
    rows = [
        [
            METRIC_NAMES.get(row.name, row.name), *_value(row.here), *_value(row.own),
            *_value(row.difference, signed=True), "-" if row.meaning == "unknown" else row.meaning,
            no_skill.get(row.name),
        ]
        for row in each.comparison
    ]  # fmt: skip
    interval = "95 % interval"
    header = ["metric", "here", interval, "test parts", interval, "difference", interval, "meaning", "no skill"]
    print_table(rows, header)
    click.echo()
    names = ("f1", "precision", "recall", "auroc", "auprc")
    print_table(
        [
            [label, each.report.support[label], *(str(metrics[name]) for name in names), each.thresholds[label]]
            for label, metrics in each.report.per_class.items()
        ],
        ["class", "n", *(METRIC_NAMES.get(name, name) for name in names), "threshold"],
    )
    for name, bins in each.report.reliability.items():
        click.echo(f"\nreliability of {shown_on_a_line(name)}")
        print_table(
            [list(row) for row in zip(bins.confidence, bins.frequency, bins.count, strict=True)],
            ["probability", "came true", "n"],
        )
    for one in each.calibration:
        click.echo(f"calibration of {shown_on_a_line(str(one))}", err=True)
    print_notes(each.all_notes)
    click.echo(shown_on_a_line(f"{each.head} {each.verdict}"), err=True)


def _value(metric: "Metric | None", *, signed: bool = False) -> list[Any]:
    if metric is None or metric.value is None:
        return ["undefined", "-"]
    sign = "+" if signed else ""
    interval = "-" if metric.low is None else f"{metric.low:{sign}.3f} to {metric.high:{sign}.3f}"
    return [f"{metric.value:{sign}.3f}", interval]


def _print_table(found: "Evaluations") -> None:
    rows = [
        [
            each.head, each.cohort_name, each.examples, each.patients, each.seen.examples,
            *(cell for name in ("auroc", "balanced_accuracy") for cell in _compared(each, name)),
            *_compared(each, "calibration_error")[:1],
        ]
        for each in found.evaluations
    ]  # fmt: skip
    print_table(
        rows,
        ["head", "cohort", "examples", "patients", "seen", "AUROC", "less tests'", "balanced accuracy", "less tests'",
         "calibration error"],
    )  # fmt: skip
    print_notes(found.notes)
    for each in found.evaluations:
        click.echo(shown_on_a_line(f"{each.head} on {each.cohort_name}: {each.verdict}"), err=True)


def _compared(each: "CohortEvaluation", name: str) -> list[str]:
    """A metric here, and its difference from the test parts."""
    row = next((row for row in each.comparison if row.name == name), None)
    if row is None:
        return ["-", "-"]
    change = row.difference
    return [str(row.here), "-" if change is None else " ".join(_value(change, signed=True))]
