"""`embedstore heads`."""

import sys
from pathlib import Path

import click

from cli.group import Group
from cli.options import confirm, json_option, print_json, print_table, store_option
from embedstore.output_files import require_folder


@click.group(cls=Group, invoke_without_command=True, epilog="Example:  embedstore heads --store my-store")
@click.option("--store", "-s", metavar="PATH|URI", help="The store whose heads to list.")
@json_option
@click.pass_context
def command(context: click.Context, store: str | None, as_json: bool) -> None:
    """List the heads of a store, or with a command show one or remove it."""
    if context.invoked_subcommand is not None:
        return
    if store is None:
        raise click.UsageError("name the store with --store")
    from embedstore import api

    opened = api.open(store)
    heads = opened.heads
    if as_json:
        print_json([head.as_record() for head in heads])
        return
    if not heads:
        click.echo(f"{opened.uri} has no head yet; `embedstore fit-head --store {store} --task TASK` makes one")
        return
    rows = []
    for head in heads:
        scores = (head.metrics.get(name) for name in ("auroc", "f1_macro"))
        rows.append(
            [
                head.name, head.task, head.model, head.collection, head.record.examples, str(len(head.classes)),
                *(score and score.value for score in scores),
                "yes" if head.has_predicted else "-", f"{head.created_at:%Y-%m-%d %H:%M}",
            ]
        )  # fmt: skip
    print_table(
        rows,
        ["head", "task", "model", "collection", "examples", "classes", "AUROC", "F1 macro", "predicted", "fitted"],
    )  # fmt: skip


@command.command("show", epilog="Example:  embedstore heads show tumour-linear --store my-store --curves cards/")
@click.argument("name")
@store_option
@click.option(
    "--curves", type=click.Path(file_okay=False, path_type=Path), metavar="FOLDER",
    help="Also write its ROC, precision-recall, reliability and confusion as PNG into FOLDER/NAME.",
)  # fmt: skip
@click.option("--split", is_flag=True, help="Print instead which part each example is in, as CSV.")
@json_option
def show(name: str, store: str, curves: Path | None, split: bool, as_json: bool) -> None:
    """Show a head's card: task, data, split, configuration, and metrics with 95 % intervals by patient."""
    from embedstore import api

    head = api.open(store).head(name)
    if curves is not None:
        require_folder(curves)  # told before anything is printed
    if split:
        head.write_split(sys.stdout)
        return
    if as_json:
        print_json(head.as_record())
    else:
        from cli.head_card import print_head

        print_head(head)
    if curves is not None:
        for path in head.write_curves(curves):
            click.echo(str(path), err=True)


@command.command("rm", epilog="Example:  embedstore heads rm tumour-linear --store my-store --yes")
@click.argument("name")
@store_option
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
def remove(name: str, store: str, yes: bool) -> None:
    """Remove a head and its predictions."""
    from embedstore import api

    opened = api.open(store)
    head = opened.head(name)
    if not yes:
        confirm(f"Remove head {name} and its predictions from {opened.uri}?")
    head.remove()
    click.echo(f"{name} removed", err=True)
