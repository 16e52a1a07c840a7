"""A head's card on the terminal: what it is, what it was fitted on, and how it does."""

from typing import Any

import click

from cli.options import print_table

#: Metrics of the short card; the long one has all.
_BRIEF = ("f1", "f1_macro", "balanced_accuracy", "auroc", "auprc", "calibration_error")
_NAMES = {
    "f1": "F1", "f1_macro": "F1 macro", "auroc": "AUROC", "auprc": "AUPRC", "brier": "Brier",
    "balanced_accuracy": "balanced accuracy", "calibration_error": "calibration error",
}  # fmt: skip


def print_head(head: Any, *, brief: bool = False) -> None:
    """Print a stored head; `brief` after fitting, whole for `embedstore heads show`."""
    record = head.record
    report = record["report"]
    click.echo(f"{head.name}: {head.model} head for {head.task!r} on {head.collection}")
    click.echo(f"{_examples(head)}; {_split(record)}; {_chosen(record)}")
    rows = [
        [_NAMES.get(name, name), metric["value"], _interval(metric), report["no_skill"].get(name)]
        for name, metric in report["metrics"].items()
        if metric["value"] is not None and (not brief or name in _BRIEF)
    ]
    print_table(rows, ["on test parts", "value", "95 % interval", "no skill"])
    if brief:
        return
    click.echo()
    metrics = ("f1", "precision", "recall", "auroc", "auprc")
    print_table(
        [
            [
                name,
                report["support"][name],
                *(_text(found.get(metric)) for metric in metrics),
                record["thresholds"][name],
            ]
            for name, found in report["per_class"].items()
        ],
        ["class", "n", *(_NAMES.get(metric, metric) for metric in metrics), "threshold"],
    )
    _print_confusion(report)
    _print_record(head)


def _examples(head: Any) -> str:
    record, unit = head.record, head.level
    tiles = f" of {record['tiles']:,} tiles" if unit != "tile" else ""
    return f"{record['examples']:,} {unit}s{tiles} of {record['groups']:,} groups"


def _split(record: dict[str, Any]) -> str:
    names = record["split"]["names"]
    kind = record["config"]["split"]["kind"]
    return f"split {kind}" + (f" in {len(names)} folds" if len(names) > 1 else "")


def _chosen(record: dict[str, Any]) -> str:
    chosen = next(cell for cell in record["selection"] if cell["chosen"])
    values = ", ".join(
        f"{name} {value if isinstance(value, str) else f'{value:g}'}"
        for name, value in chosen.items()
        if name not in ("score", "chosen")
    )
    return f"{record['optimizer']} with {values} of {len(record['selection'])} tried"


def _augmentation(record: dict[str, Any]) -> str:
    """What vectors were augmented by, and with which views and augmenter."""
    from heads.config import FitConfig

    policies = FitConfig.from_record(record["config"]).policies
    text = str(policies[0]) if len(policies) == 1 else f"by one of {'; '.join(map(str, policies))}"
    if views := record.get("views"):
        text += f"; {views['count']} views of {views['tiles']:,} tiles"
    if augmenter := record.get("augmenter"):
        text += f"; augmenter {augmenter['name']} {augmenter['digest']}"
    return text


def _interval(metric: dict[str, Any]) -> str:
    return "-" if metric["low"] is None else f"{metric['low']:.3f} to {metric['high']:.3f}"


def _text(metric: dict[str, Any] | None) -> str:
    if metric is None or metric["value"] is None:
        return "-"
    return f"{metric['value']:.3f}" + ("" if metric["low"] is None else f" ({_interval(metric)})")


def _print_confusion(report: dict[str, Any]) -> None:
    click.echo("\nconfusion (rows are the truth)")
    if report["multi_label"]:
        rows = [[name, tn, fp, fn, tp] for name, ((tn, fp), (fn, tp)) in _pairs(report)]
        print_table(rows, ["class", "neither", "said only", "missed", "both"])
        return
    rows = [[name, *counts] for name, counts in _pairs(report)]
    print_table(rows, ["", *report["classes"]])


def _pairs(report: dict[str, Any]) -> Any:
    return zip(report["classes"], report["confusion"], strict=True)


def _print_record(head: Any) -> None:
    record = head.record
    extractor = record["extractor"]
    click.echo()
    for name, value in (
        ("digest", head.digest),
        ("fitted", f"{head.created_at:%Y-%m-%d %H:%M} UTC by embedstore {record['embedstore']} on {record['device']}"),
        ("vectors", f"collection version {record['collection_version']}, {extractor['dim']} dimensions"),
        ("extractor", f"{extractor['name']} {extractor['digest']}"),
        ("slides", record["where"] or "all"),
        ("augmented", _augmentation(record)),
        ("seconds", ", ".join(f"{part} {seconds:g}" for part, seconds in record["seconds"].items())),
    ):
        click.echo(f"{name:<10} {value}")
    for fold in record["split"]["counts"]:
        parts = (f"{part} {fold[part]['rows']:,} of {fold[part]['groups']:,}" for part in ("train", "valid", "test"))
        click.echo(f"{fold['fold']:<10} {', '.join(parts)} groups")
    for note in record["notes"]:
        click.echo(f"note       {note}")
