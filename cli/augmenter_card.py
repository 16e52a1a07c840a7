"""A latent augmenter's card on the terminal: what it was trained on, and how well it predicts views."""

from typing import Any

import click

from cli.options import print_table


def print_augmenter(stored: Any, *, brief: bool = False) -> None:
    """Print a stored augmenter; `brief` after fitting, whole for `embedstore augmenters show`."""
    from heads.augmentation.augmenter_record import AugmenterRecord

    record = AugmenterRecord.from_record(stored.record)
    report = record.report
    verdict = "beats the tile's own vector" if record.beats_original else "NO BETTER than the tile's own vector"
    click.echo(f"{stored.name}: latent augmenter for {record.extractor.name}, of views of {stored.collection}")
    click.echo(f"on {report.tiles:,} tiles of {report.groups:,} groups that it has not seen: {verdict}")
    rows = [
        [name, of.views, *map(str, (of.original, of.predicted, of.gain, of.transform_gain, of.explained))]
        for name, of in report.scores.items()
        if of.views
    ]
    print_table(rows, ["cosine to the view", "views", "tile's own", "predicted", "gain", "transform", "explained"])
    click.echo("transform: what the right parameters bring over another view's; explained: share of the squared change")
    if brief:
        return
    click.echo()
    parts = ", ".join(f"{name} {part.tiles:,} of {part.groups:,}" for name, part in record.parts.items())
    for name, value in (
        ("digest", stored.digest),
        (
            "fitted",
            f"{stored.created_at:%Y-%m-%d %H:%M} UTC by embedstore {record.embedstore} on {record.device}",
        ),
        ("extractor", f"{record.extractor.name} {record.extractor.digest}"),
        ("views", ", ".join(f"{name} {value:g}" for name, value in vars(record.view_config).items())),
        ("parts", f"{parts} groups"),
        ("slides", record.where or "all"),
        ("network", ", ".join(f"{name} {value:g}" for name, value in vars(record.config).items())),
        ("kept", f"parameters of step {record.step:,}"),
        ("seconds", ", ".join(f"{part} {seconds:g}" for part, seconds in record.seconds.items())),
    ):
        click.echo(f"{name:<10} {value}")
    for note in record.notes:
        click.echo(f"note       {note}")
