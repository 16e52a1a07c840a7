"""Every command says how it is used, and every field of a configuration what it means."""

import ast
import importlib
import re
import shlex
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from cli.main import COMMANDS, app
from tests.packaging.sources import source_files, syntax_tree


def _commands() -> dict[str, click.Command]:
    """Every command by its words, those of groups included, and the groups themselves."""
    found = {}
    for verb, (module, _) in COMMANDS.items():
        command = found[verb] = importlib.import_module(module).command
        if isinstance(command, click.Group):
            found |= {f"{verb} {name}": each for name, each in command.commands.items()}
    return found


ALL = _commands()


def _help(command: click.Command, verb: str) -> str:
    result = CliRunner().invoke(command, ["--help"], prog_name=f"embedstore {verb}".strip())
    assert result.exit_code == 0, result.output
    return result.output


def _example(command: click.Command, verb: str) -> list[str]:
    """The words of the example with which the help ends."""
    last = re.split(r"\n\s*\n", _help(command, verb).strip())[-1]
    assert last.lstrip().startswith("Example"), f"the help of `embedstore {verb}` does not end with an example"
    words = shlex.split(" ".join(last.split()).split(":", 1)[1])
    return words[: words.index("&&")] if "&&" in words else words


def test_group_ends_with_an_example():
    assert _example(app, "")[0] == "embedstore"


def test_every_verb_has_a_file_and_every_file_a_verb():
    verbs = {module for module, _ in COMMANDS.values()}
    files = {
        f"cli.{path.stem}"
        for path in source_files()
        if path.parent == Path("cli")
        and any(isinstance(node, ast.FunctionDef) and node.name == "command" for node in syntax_tree(path).body)
    }
    assert verbs == files


@pytest.mark.parametrize("verb", sorted(ALL))
def test_example_is_one_that_the_command_takes(verb):
    words = _example(ALL[verb], verb)
    path = verb.split()
    assert words[: 1 + len(path)] == ["embedstore", *path]
    command = ALL[verb]
    if isinstance(command, click.Group) and not command.invoke_without_command:  # its example is one of its commands'
        path.append(words[1 + len(path)])
        command = ALL[" ".join(path)]
    context = click.Context(command, info_name=path[-1])
    values, rest, _ = command.make_parser(context).parse_args(words[1 + len(path) :])  # unknown options raise
    assert not rest
    missing = [param.name for param in command.params if param.required and not values.get(param.name or "")]
    assert not missing


@pytest.mark.parametrize("verb", sorted(ALL))
def test_every_option_has_help(verb):
    options = [param for param in ALL[verb].params if isinstance(param, click.Option)]
    assert not [option.name for option in options if not option.help]


def _configurations() -> list[tuple[str, ast.ClassDef]]:
    """(where, class) of every configuration."""
    return [
        (f"{path}:{node.lineno} {node.name}", node)
        for path in source_files()
        for node in ast.walk(syntax_tree(path))
        if isinstance(node, ast.ClassDef) and node.name.endswith(("Config", "Recipe")) and node.decorator_list
    ]


def test_every_field_of_a_configuration_is_documented():
    wrong = []
    for where, node in _configurations():
        text = ast.get_docstring(node) or ""
        lines = re.findall(r"^ {4}(\w+(?:, \w+)*): \S", text.partition("Attributes:")[2], flags=re.MULTILINE)
        described = {name for line in lines for name in line.split(", ")}
        annotated = [part.target for part in node.body if isinstance(part, ast.AnnAssign)]
        fields = {target.id for target in annotated if isinstance(target, ast.Name)}
        if fields != described:
            wrong.append(f"{where}: the Attributes of its docstring differ by {sorted(fields ^ described)}")
    assert not wrong, "\n".join(wrong)


def test_every_configuration_is_frozen_and_keyword_only():
    found = _configurations()
    decorators = {where: ast.unparse(node.decorator_list[-1]) for where, node in found}
    wrong = [where for where, text in decorators.items() if "frozen=True" not in text or "kw_only=True" not in text]
    assert found and not wrong
