"""`embedstore`: the group of commands; each is imported only when it is run."""

import atexit
import gc
import os
import sys
import warnings
from typing import Any

import click

from cli.endings import closed_pipe_exits, exit_codes
from cli.group import Group
from embedstore.pandas_deferred import defer_pandas
from embedstore.version import __version__

#: Command, its module, and its line in `embedstore --help`.
COMMANDS = {
    "ingest": ("cli.ingest", "Embed the tissue tiles of slides into a store."),
    "import": ("cli.import_features", "Bring in vectors that another tool extracted."),
    "ls": ("cli.ls", "Show the collections of a store."),
    "status": ("cli.status", "Show the outcome for each slide."),
    "show": ("cli.show", "Show a tile: its picture and its row."),
    "search": ("cli.search", "Find the nearest tiles of a collection, or similar slides."),
    "map": ("cli.map", "Lay the tiles of a collection out in two dimensions, and draw them."),
    "encode-slides": ("cli.encode_slides", "Turn the tile vectors of each slide into one vector."),
    "label": ("cli.label", "Import, list, export and remove labels."),
    "tissue": ("cli.tissue", "Show the tissue that ingest would find on a slide."),
    "extractors": ("cli.extractors", "List the extractors that embedstore knows."),
    "export": ("cli.export", "Write predictions and embeddings for QuPath, pandas and AnnData, or as heat maps."),
    "select-extractor": ("cli.select_extractor", "Compare candidates for an extractor on a labelled task."),
    "fit-head": ("cli.fit_head", "Fit a head for a task from stored vectors."),
    "zero-shot": ("cli.zero_shot", "Classify tiles by words alone, and store the predictions."),
    "fit-augmenter": ("cli.fit_augmenter", "Learn to predict the vectors of augmented tiles."),
    "augmenters": ("cli.augmenters", "List, show and remove latent augmenters."),
    "heads": ("cli.heads", "List, show and remove heads."),
    "evaluate": ("cli.evaluate", "Evaluate heads on other cohorts, sites or stores than their own."),
    "predict": ("cli.predict", "Run a head over a collection and store its predictions."),
    "suggest": ("cli.suggest", "Propose the tiles whose labels would teach most."),
    "mistakes": ("cli.mistakes", "List labelled tiles that a head takes for another class."),
    "serve": ("cli.serve", "Serve a store over HTTP, for programs, notebooks and a page."),
    "audit": ("cli.audit", "Find leaks, outliers and duplicate slides."),
    "index": ("cli.index", "Bring the search index up to date, or choose another index."),
    "token": ("cli.token", "Make, list and revoke tokens, for a service of the store."),
    "access-log": ("cli.access_log", "Show who changed a store through a service, and who looked at which slide."),
    "rm": ("cli.rm", "Remove slides or patients from a store."),
    "compact": ("cli.compact", "Merge small files and purge removed rows."),
    "doctor": ("cli.doctor", "Check versions, devices, the store and the hub."),
    "synthesize": ("cli.synthesize", "Make synthetic H&E-like slides for trying things out."),
    "demo": ("cli.demo", "Run everything on synthetic slides, offline."),
}


class LazyGroup(Group):
    """Imports a command's module only when that command runs: `--help` must not wait for torch or Ray."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = __import__(COMMANDS[cmd_name][0], fromlist=["command"])
        module.command.name = cmd_name  # every function is named `command`; documentation shows this name instead
        return module.command

    def invoke(self, ctx: click.Context) -> Any:
        with closed_pipe_exits():  # inside of click, whose own answer is exit code 1
            return super().invoke(ctx)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.command(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example:  embedstore ingest slides/ --store my-store",
)
@click.version_option(__version__, prog_name="embedstore")
def app() -> None:
    """An embedding database for whole-slide pathology: embed once, search and fit heads for ever.

    Exit codes: 0 done, 1 failed, 2 wrong usage, 3 finished but something failed or was found, 130 interrupted
    (129 and 143: by another signal).
    """
    if not {"-h", "--help"} & {*sys.argv}:  # logging takes 3 ms to import
        _echo_progress()


def _echo_progress() -> None:
    """Write to stderr the log lines that replace a progress bar where there is no terminal."""
    import logging

    class EchoHandler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            click.echo(record.getMessage(), err=True)

    log, handler = logging.getLogger("embedstore.progress_bar"), EchoHandler()
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    click.get_current_context().call_on_close(lambda: log.removeHandler(handler))


def main() -> None:
    """Run the command line."""
    # Libraries warn programmers; what a user should know embedstore says itself. Other filters (-W) come first.
    warnings.simplefilter("ignore", append=True)
    # Lance warns thousands of times while it builds an index of over 1,024 partitions; it reads this when imported.
    os.environ.setdefault("LANCE_LOG", "error")
    defer_pandas()
    # At its end Python would look through all that is loaded for garbage, up to 0.2 s; the system takes it all anyway.
    atexit.register(gc.freeze)
    with exit_codes():
        app(standalone_mode=False)


if __name__ == "__main__":
    main()
