"""A head's card on the terminal: what it is, what it was fitted on, and how good it is."""

from typing import TYPE_CHECKING

import click

from cli.options import print_facts, print_table
from embedstore.extractor_ref import why_unknown

if TYPE_CHECKING:
    from embedstore.api.head import Head
    from heads.evaluation.report import Metric, Report
    from heads.record import HeadRecord, WordsUsed
    from heads.splitting.splits import FoldCounts

#: Metrics of the short card; the long one has all.
_BRIEF = ("f1", "f1_macro", "balanced_accuracy", "auroc", "auprc", "calibration_error")


def print_head(head: "Head", *, brief: bool = False) -> None:
    """Print a head; `brief` after fitting, whole for `embedstore heads show`."""
    from heads.evaluation.report import METRIC_NAMES

    record, report = head.record, head.report
    click.echo(f"{head.name}: {head.model} head for {head.task!r} on {head.collection}")
    if record.words is None:
        click.echo(f"{_examples(record, head.level)}; {_split(record)}; {_chosen(record)}")
    else:
        click.echo(f"{_words(record.words)}; measured on {_examples(record, head.level)}")
    rows = [
        [METRIC_NAMES.get(name, name), round(metric.value, 3), _interval(metric), report.no_skill.get(name)]
        for name, metric in report.metrics.items()
        if metric.value is not None and (not brief or name in _BRIEF)
    ]
    if rows:
        measured = "on test parts" if record.words is None else "on labelled tiles"
        print_table(rows, [measured, "value", "95 % interval", "no skill"])
    if brief:
        return
    if report.rows:
        _print_classes(record, report)
        _print_confusion(report)
    _print_record(head, record)


def _print_classes(record: "HeadRecord", report: "Report") -> None:
    from heads.evaluation.report import METRIC_NAMES

    click.echo()
    names = ("f1", "precision", "recall", "auroc", "auprc")
    print_table(
        [
            [label, report.support[label], *(_text(metrics.get(name)) for name in names), record.thresholds[label]]
            for label, metrics in report.per_class.items()
        ],
        ["class", "n", *(METRIC_NAMES.get(name, name) for name in names), "threshold"],
    )


def _words(words: "WordsUsed") -> str:
    prompts = sum(map(len, words.classes.values()))
    templates = f" in {len(words.templates)} templates" if len(words.templates) > 1 else ""
    return f"made of {prompts} prompts{templates} for {len(words.classes)} classes"


def _examples(record: "HeadRecord", level: str) -> str:
    tiles = f" of {record.tiles:,} tiles" if level != "tile" else ""
    return f"{record.examples:,} {level}s{tiles} of {record.groups:,} groups"


def _split(record: "HeadRecord") -> str:
    folds = len(record.fold_names)
    return f"split {record.config.split.kind}" + (f" in {folds} folds" if folds > 1 else "")


def _chosen(record: "HeadRecord") -> str:
    values = ", ".join(
        f"{name} {value if isinstance(value, str) else f'{value:g}'}"
        for name, value in record.chosen.parameters.items()
    )
    return f"{record.optimizer} with {values} of {len(record.selection)} tried"


def _augmentation(record: "HeadRecord") -> str:
    """How vectors were augmented and why so, and with which views and augmenter."""
    policies = record.config.policies
    text = str(policies[0]) if len(policies) == 1 else f"by one of {'; '.join(map(str, policies))}"
    used = (record.augmentation or text, record.views, record.augmenter)
    return "; ".join(str(one) for one in used if one is not None)


def _interval(metric: "Metric") -> str:
    return "-" if metric.low is None else f"{metric.low:.3f} to {metric.high:.3f}"


def _text(metric: "Metric | None") -> str:
    if metric is None or metric.value is None:
        return "-"
    return f"{metric.value:.3f}" + ("" if metric.low is None else f" ({_interval(metric)})")


def _print_confusion(report: "Report") -> None:
    click.echo("\nconfusion (rows are the truth)")
    counts = zip(report.classes, report.confusion.tolist(), strict=True)
    if report.multi_label:
        rows = [[name, tn, fp, fn, tp] for name, ((tn, fp), (fn, tp)) in counts]
        print_table(rows, ["class", "neither", "predicted only", "missed", "both"])
        return
    print_table([[name, *row] for name, row in counts], ["", *report.classes])


def _print_record(head: "Head", record: "HeadRecord") -> None:
    click.echo()
    print_facts(
        ("digest", head.digest),
        ("fitted", f"{head.created_at:%Y-%m-%d %H:%M} UTC by embedstore {record.embedstore} on {record.device}"),
        ("vectors", f"collection version {record.collection_version}, {record.extractor.dim} dimensions"),
        ("extractor", f"{record.extractor.name} {record.extractor.digest}"),
        *(
            ()
            if record.extractor.is_known
            else (("serves", f"only {head.collection}{why_unknown(record.extractor.digest)}"),)
        ),
        *((("encoder", str(record.encoder)),) if record.encoder is not None else ()),
        ("slides", record.where or "all"),
        *_how(record),
        ("seconds", ", ".join(f"{stage} {seconds:g}" for stage, seconds in record.seconds.items())),
        *((fold.fold, _parts(fold)) for fold in record.fold_counts if record.words is None),
        *(("note", note) for note in record.notes),
    )


def _how(record: "HeadRecord") -> list[tuple[str, str]]:
    """How it was fitted, or what it was made of."""
    if record.words is None:
        return [("augmented", _augmentation(record))]
    words = record.words
    return [
        *((f"class {name}", " | ".join(prompts)) for name, prompts in words.classes.items()),
        ("templates", " | ".join(words.templates)),
        ("text tower", words.text_digest),
        ("logit scale", f"{words.logit_scale:g}"),
    ]


def _parts(fold: "FoldCounts") -> str:
    parts = (("train", fold.train), ("valid", fold.valid), ("test", fold.test))
    return ", ".join(f"{part} {counts.rows:,} of {counts.groups:,}" for part, counts in parts) + " groups"
