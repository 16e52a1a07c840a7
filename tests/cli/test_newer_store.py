"""A store of a newer version is refused by every command that opens one."""

import importlib
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from cli.main import COMMANDS, app
from tests.layouts.files import write_trident
from tests.store.golden import make
from tests.store.golden.unpacked import become_newer, files_of, unpack

#: What commands need beyond what can be made up from their options.
WORDS = {
    "access-log purge": ["--before", "7d"],
    "doctor": [],
    "ingest": ["seven.tif"],
    "import": ["job"],
    "fit-head": ["--task", "side"],
    "label export": ["--task", "side", "--out", "out"],
    "label withdraw": ["--task", "side", "--slide", "one.tif", "--of", "*"],
    "label add": ["--task", "side", "--class", "left", "--slide", "one.tif"],
    "export": ["--format", "csv", "--out", "out"],
    "map": ["--out", "map.png"],
    "search": ["--slide", "one.tif"],
    "show": ["--slide", "one.tif"],
    "rm": ["--slide", "one.tif", "--yes"],
    "mistakes": ["--head", "side"],
    "suggest": ["--head", "side"],
    "zero-shot": ["--task", "side", "--class", "left=a", "--class", "right=b"],
    "select-extractor": ["-e", "colour-12", "-e", "stain-texture", "--task", "side"],
}


def _with_store() -> dict[str, click.Command]:
    """Every command that has the option --store."""
    found: dict[str, click.Command] = {}
    for verb, (module, _) in COMMANDS.items():
        command = importlib.import_module(module).command
        below = {f"{verb} {name}": each for name, each in getattr(command, "commands", {}).items()}
        found |= {
            name: each
            for name, each in {verb: command, **below}.items()
            if any(parameter.name == "store" for parameter in each.params)
        }
    return found


def _made_up(command: click.Command, path: Path) -> list[str]:
    """Words for what a command must be given."""
    words = []
    for parameter in command.params:
        if parameter.required and parameter.name != "store":
            given = str(path) if isinstance(parameter.type, click.Path) else "1" if parameter.type.name in (
                "integer", "float") else "a"  # fmt: skip
            words += [parameter.opts[0], given] if isinstance(parameter, click.Option) else [given]
    return words


@pytest.mark.slow
def test_every_command_refuses_a_newer_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    golden = unpack("0.1.0-format-1", tmp_path)
    become_newer(golden)
    slide = make.write_slide(tmp_path / "seven.tif", seed=7)
    write_trident(tmp_path / "job", "a")
    before = files_of(golden)
    commands = _with_store()
    assert len(commands) > 25
    for name, command in commands.items():
        words = WORDS[name] if name in WORDS else _made_up(command, slide)
        ended = CliRunner().invoke(app, [*name.split(), *words, "--store", str(golden)])
        said = f"{ended.output} {ended.exception}"
        assert "has format 3, of embedstore 9.8.7" in said, (name, words, said)
    assert files_of(golden) == before
