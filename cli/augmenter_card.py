"""A latent augmenter's card on the terminal: what it was trained on, and how well it predicts views."""

from typing import TYPE_CHECKING

import click

from cli.options import print_facts, print_table

if TYPE_CHECKING:
    from embedstore.api import Augmenter


def print_augmenter(augmenter: "Augmenter", *, brief: bool = False) -> None:
    """Print an augmenter; `brief` after fitting, whole for `embedstore augmenters show`."""
    record = augmenter.record
    report = record.report
    verdict = "beats the tile's own vector" if record.beats_original else "NO BETTER than the tile's own vector"
    click.echo(f"{augmenter.name}: latent augmenter for {record.extractor.name}, of views of {augmenter.collection}")
    click.echo(f"on {report.tiles:,} tiles of {report.groups:,} groups that it has not seen: {verdict}")
    rows = [
        [
            name,
            score.views,
            *map(str, (score.original, score.predicted, score.gain, score.transform_gain, score.explained)),
        ]
        for name, score in report.scores.items()
        if score.views
    ]
    print_table(rows, ["cosine to the view", "views", "tile's own", "predicted", "gain", "transform", "explained"])
    click.echo("transform: what the right parameters bring over another view's; explained: share of the squared change")
    if brief:
        return
    click.echo()
    parts = ", ".join(f"{name} {part.tiles:,} of {part.groups:,}" for name, part in record.parts.items())
    print_facts(
        ("digest", augmenter.digest),
        ("fitted", f"{augmenter.created_at:%Y-%m-%d %H:%M} UTC by embedstore {record.embedstore} on {record.device}"),
        ("extractor", f"{record.extractor.name} {record.extractor.digest}"),
        ("views", ", ".join(f"{name} {value:g}" for name, value in vars(record.view_config).items())),
        ("parts", f"{parts} groups"),
        ("slides", record.where or "all"),
        ("network", ", ".join(f"{name} {value:g}" for name, value in vars(record.config).items())),
        ("kept", f"parameters of step {record.step:,}"),
        ("seconds", ", ".join(f"{stage} {seconds:g}" for stage, seconds in record.seconds.items())),
        *(("note", note) for note in record.notes),
    )
