"""`embedstore fit-head`."""

import sys
from typing import Any

import click

from cli.options import collection_option, json_option, print_json, store_option
from embedstore.quantities import human_time


def _list_of(kind: Any) -> Any:
    """Several numbers in one option: 1e-4,1e-3."""

    def parse(context: click.Context, option: click.Parameter, text: str | None) -> tuple[Any, ...] | None:
        if text is None:
            return None
        try:
            return tuple(kind(part.strip()) for part in text.split(","))
        except ValueError as error:
            raise click.BadParameter(f"{text!r}; expected numbers parted by commas", context, option) from error

    return parse


@click.command(epilog="Example:  embedstore fit-head --store my-store --task tumour --model linear")
@store_option
@collection_option
@click.option("--task", "-t", "tasks", multiple=True, metavar="NAME", help="Which labels; several share one pass.")
@click.option("--name", "names", multiple=True, help="Name of each task's head.  [default: TASK-MODEL]")
@click.option("--replace", "replace_heads", is_flag=True, help="A head of the same name gives way.")
@click.option("--where", metavar="SQL", help="Only slides with such columns, as in \"stain = 'HE'\".")
@click.option("--again", metavar="HEAD", help="Fit this head again from its record, and compare; nothing is saved.")
@click.option("--config", "config_file", type=click.Path(exists=True, dir_okay=False), help="TOML; flags win over it.")
@click.option("--model", type=click.Choice(["linear", "mlp", "mean", "max", "abmil"]),
              help="Of a tile: linear, mlp. Of a slide or patient: mean, max, abmil (gated attention).  "
              "[default: linear]")  # fmt: skip
@click.option("--level", type=click.Choice(["tile", "slide", "patient"]),
              help="What a label is about.  [default: tile, or slide for mean, max and abmil]")  # fmt: skip
@click.option("--multi-label", is_flag=True, default=None, help="A place may be of several classes.")
@click.option("--classes", metavar="A,B,…", help="The classes and their order.  [default: all that labels name]")
@click.option("--positive", metavar="CLASS", help="Of two classes, the one that is looked for.  [default: the second]")
@click.option("--join", "rule", type=click.Choice(["centre", "overlap"]),
              help="A tile is in an area by its centre, or by its share of overlap.  [default: centre]")  # fmt: skip
@click.option("--min-overlap", type=float, help="With --join overlap: that share.  [default: 0.5]")
@click.option("--split", "split", type=click.Choice(["kfold", "holdout", "given", "column", "file"]),
              help="How patients are parted; `given` is the labels' own split.  [default: kfold]")  # fmt: skip
@click.option("--folds", type=int, help="With kfold: how many, 3 or more.  [default: 5]")
@click.option("--split-column", metavar="COLUMN", help="With column: a fold a value, such as a site.")
@click.option("--split-file", type=click.Path(exists=True, dir_okay=False),
              help="With file: a CSV of patient or slide_id, and split or fold.")  # fmt: skip
@click.option("--group-by", metavar="COLUMN", help="What must not be parted.  [default: patient]")
@click.option("--optimizer", type=click.Choice(["auto", "adamw", "lbfgs"]),
              help="auto: lbfgs for linear heads of up to 50,000 vectors, views counted.  [default: auto]")  # fmt: skip
@click.option("--learning-rate", "learning_rates", callback=_list_of(float), metavar="A,B,…", help="A grid, for adamw.")
@click.option("--weight-decay", "weight_decays", callback=_list_of(float), metavar="A,B,…", help="A grid, for adamw.")
@click.option("--c", "c", callback=_list_of(float), metavar="A,B,…", help="A grid of inverse strengths, for lbfgs.")
@click.option("--seeds", type=int, help="Heads a fold, of which the mean is taken.  [default: 1]")
@click.option("--seed", type=int, help="The first of them.  [default: 0]")
@click.option("--steps", type=int, help="Most steps.")
@click.option("--batch", type=int, help="Tiles or bags a step.")
@click.option("--patience", type=int, help="Looks at the validation part without a gain, then a head stops.")
@click.option("--metric", type=click.Choice(["loss", "balanced_accuracy", "auroc"]),
              help="What is validated by.  [default: loss]")  # fmt: skip
@click.option("--class-weights", type=click.Choice(["balanced", "none"]), help="[default: balanced]")
@click.option("--balanced-sampling", is_flag=True, default=None, help="Draw classes equally often instead.")
@click.option("--focal", type=float, help="Exponent of the focal loss; 0 is cross-entropy.")
@click.option("--hidden", type=int, help="Width of the hidden layer of mlp and abmil.  [default: 256]")
@click.option("--augment", "augment", multiple=True, metavar="KIND=STRENGTH,…",
              help="noise, dropout, mixup, interpolate, extrapolate, views (of ingest --views), learned (of "
              "fit-augmenter), or none; as in noise=0.3,views=0.5. Given several times, the best by validation is "
              "kept; `search` tries a set.  [default: the views and augmenter that there are, else none]")  # fmt: skip
@click.option("--augmenter", metavar="NAME", help="With learned: which.  [default: the only one of the extractor]")
@click.option("--no-calibrate", is_flag=True, help="Leave probabilities as they come.")
@json_option
def command(
    store: str,
    collection: str | None,
    tasks: tuple[str, ...],
    names: tuple[str, ...],
    replace_heads: bool,
    where: str | None,
    again: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Fit a head for each task from stored vectors; no pixel is read.

    Labels come from `embedstore label import`, or with folders of ready-made tiles. Patients are never on both sides
    of a split. What is printed was measured on tiles that the head has not seen, with 95 % intervals by patient.
    """
    if (again is None) == (not tasks):
        raise click.UsageError("name a task with --task (`embedstore label ls` lists them), or a head with --again")
    from cli.fit_settings import resolve_fit
    from heads.devices import prepare_jax

    prepare_jax()
    from embedstore.store import Store
    from heads.fit import fit_again, fit_heads

    def tell(text: str) -> None:
        click.echo(text, err=True)

    opened = Store.open(store)
    config = resolve_fit(options, lambda *of: _policies(opened, opened.collection(collection), *of))
    if again is not None:
        _again(*fit_again(opened, again, tell=tell), as_json)
        return
    made = fit_heads(
        opened, opened.collection(collection), tasks, config,
        names=names or None, where=where, replace_heads=replace_heads, tell=tell,
    )  # fmt: skip
    if as_json:
        print_json([{"name": head.name, "task": head.task, "digest": head.digest, **head.record} for head in made])
        return
    from cli.head_card import print_head

    for head in made:
        print_head(head, brief=True)
    spent = made[0].record["seconds"]
    click.echo(", ".join(f"{name} {human_time(seconds)}" for name, seconds in spent.items()), err=True)
    click.echo(f"next: embedstore predict --store {store} --head {made[0].name}", err=True)


def _policies(store: Any, collection: Any, model: str, augmenter: str | None) -> Any:
    """What a search tries: what the collection has the means for, and the model can take."""
    from heads.augmentation.augmenter import augmenters_for
    from heads.augmentation.policies import search_policies
    from heads.config import TILE_MODELS

    if model not in TILE_MODELS:
        return search_policies(views=False, learned=False)
    views = store.views(collection.name)
    learned = augmenter is not None or len(augmenters_for(store, collection)) == 1
    return search_policies(views=views.exists() and len(views) > 0, learned=learned)


def _again(stored: Any, head: Any, as_json: bool) -> None:
    same = stored.digest == head.digest
    if as_json:
        print_json({"name": stored.name, "stored": stored.digest, "again": head.digest, "same": same})
    else:
        click.echo(f"{stored.name}: {'the same parameters' if same else 'OTHER PARAMETERS'} ({head.digest})")
    if not same:
        was = stored.record["device"]
        click.echo(f"it was fitted on {was}; the same numbers are promised on the same kind of device only", err=True)
        sys.exit(1)
