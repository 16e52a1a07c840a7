"""The flags of `ingest`, `select-extractor` and `demo` that name and describe extractors."""

import ast
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click

from cli.flags import CommaList, F

if TYPE_CHECKING:
    from embedstore.extractors import ExtractorConfig

DEFAULT_EXTRACTOR = "stain-texture"
#: Flags that describe the extractors that --extractor names.
DETAIL_FLAGS = {"--weights": "weights", "--arch-arg": "arch_args", "--mean": "mean", "--std": "std"}

_DETAILS = (
    click.option(
        "--weights",
        multiple=True,
        metavar="FILE",
        help="A file of weights, or its address, one for each --extractor ('-' for none).",
    ),
    click.option(
        "--arch-arg", "arch_args", multiple=True, metavar="K=V", help="Argument of the architecture; repeatable."
    ),
    click.option(
        "--mean", type=CommaList(float), metavar="R,G,B", help="Mean that the weights expect, on the scale 0 to 1."
    ),
    click.option(
        "--std", type=CommaList(float), metavar="R,G,B", help="Standard deviation that they expect, on the same scale."
    ),
)


def extractor_flags(help: str) -> Callable[[F], F]:
    """Add --extractor, with this help text, and the flags that describe extractors."""
    extractor = click.option("--extractor", "-e", "extractors", multiple=True, metavar="NAME", help=help)

    def decorate(command: F) -> F:
        for option in (*reversed(_DETAILS), extractor):
            command = option(command)
        return command

    return decorate


def extractors_from_flags(options: Mapping[str, Any]) -> "list[ExtractorConfig]":
    """The extractors that flags name; `stain-texture` where they name none."""
    from embedstore.extractors import ExtractorConfig

    refs, weights = options["extractors"] or (DEFAULT_EXTRACTOR,), options["weights"]
    if weights and len(weights) != len(refs):
        raise click.UsageError(f"{len(weights)} --weights for {len(refs)} --extractor; give one each, '-' for none")
    arguments = dict(_argument(text) for text in options["arch_args"])
    return [
        ExtractorConfig(
            ref=ref,
            weights=None if not weights or weights[i] == "-" else weights[i],
            arch_args=arguments,
            mean=options["mean"],
            std=options["std"],
        )
        for i, ref in enumerate(refs)
    ]


def _argument(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise click.UsageError(f"--arch-arg {text!r}: expected NAME=VALUE, such as pad_type=same")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value
