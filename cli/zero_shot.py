"""`embedstore zero-shot`."""

from pathlib import Path
from typing import Any

import click

from cli.fit_settings import JOIN
from cli.flags import Flag, Section
from cli.json_log import log_json_option
from cli.next_step import say_export
from cli.options import collection_option, json_option, print_json, print_notes, store_option
from embedstore.config import JoinConfig
from heads.prompts import ZeroShotConfig, parse_classes

ZERO_SHOT = Section(
    "zero-shot",
    ZeroShotConfig,
    Flag("positive", metavar="CLASS"),
    Flag("logit_scale", metavar="S"),
)


@click.command(
    epilog='Example:  embedstore zero-shot --store my-store --task tumour --class "normal=normal tissue" '
    '--class "tumour=tumor tissue|carcinoma" --template "an H&E image of {}."'
)
@store_option
@collection_option
@click.option("--task", "-t", required=True, metavar="NAME", help="The question that it answers; it may have labels.")
@click.option(
    "--class",
    "classes",
    multiple=True,
    metavar="NAME=PROMPT|PROMPT",
    help="A class and what it looks like, in words; repeatable, two classes or more.",
)
@click.option(
    "--prompts",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Classes of a file instead: .toml or .json with a table `classes` and perhaps a list `templates`, or a .csv "
    "with the columns class and prompt.",
)
@click.option(
    "--template",
    "templates",
    multiple=True,
    metavar="TEXT",
    help="A sentence with {} where each prompt is put in; repeatable.  [default: the prompt alone]",
)
@click.option("--name", help="Name of the head.  [default: TASK-zero-shot]")
@click.option("--replace", is_flag=True, help="Replace a head of the same name.")
@click.option("--no-predict", is_flag=True, help="Only save the head; predict no tile.")
@click.option(
    "--trust-extractor",
    is_flag=True,
    help="Allow running the extractor that the store names, if it is a function of its user's.",
)
@ZERO_SHOT
@JOIN
@log_json_option
@json_option
def command(
    store: str,
    collection: str | None,
    task: str,
    classes: tuple[str, ...],
    prompts: Path | None,
    templates: tuple[str, ...],
    name: str | None,
    replace: bool,
    no_predict: bool,
    trust_extractor: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Classify tiles by words alone, if the collection's extractor has a text tower; no pixel is read.

    It makes a head of the words, and predicts every tile of the collection with it, so that `embedstore export`,
    `mistakes` and the page show it like any other head. Where the task has labels of the classes, its metrics are
    printed.
    """
    if classes and prompts is not None:
        raise click.UsageError("--class and --prompts both give the classes; give one of these only")
    if not classes and prompts is None:
        raise click.UsageError("give the classes with --class, two or more, or in a file with --prompts")
    from embedstore import api

    given = {**ZERO_SHOT.given(options), **({"templates": templates} if templates else {})}
    opened = api.open(store)
    head = opened.zero_shot_head(
        task, prompts or parse_classes(classes), name=name, collection=collection, replace=replace,
        trust_extractor=trust_extractor, join=JoinConfig(**JOIN.given(options)), **given,
    )  # fmt: skip
    predicted = None if no_predict else head.predict(replace=replace)
    print_notes(dict.fromkeys(head.record.notes))
    if as_json:
        print_json({**head.as_record(), "predicted": None if predicted is None else vars(predicted)})
        return
    from cli.head_card import print_head

    print_head(head, brief=True)
    if predicted is not None:
        click.echo(repr(predicted))
        say_export(store, opened, head)
