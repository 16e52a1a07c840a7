"""Every command says how it is used, and every field of a configuration what it means."""

import ast
import importlib
import re
import shlex
from dataclasses import fields
from functools import cache
from inspect import signature
from operator import attrgetter
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from cli.flags import Flag, Section
from cli.main import COMMANDS, app
from tests.packaging.sources import files_with, source_files, statements, syntax_tree


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


def _sections() -> list[tuple[str, Section, Flag]]:
    """Every flag that sets a field of a settings class, with the words of its command."""
    return [
        (verb, section, flag)
        for verb, (module, _) in COMMANDS.items()
        for section in vars(importlib.import_module(module)).values()
        if isinstance(section, Section)
        for flag in section.flags
    ]


def _shown_default(verb: str, option: str) -> str | None:
    """The default of an option as the help of its command shows it."""
    (param,) = (param for param in ALL[verb].params if option in param.opts)
    record = param.get_help_record(click.Context(ALL[verb]))
    found = re.search(r"\[default: (.*?)(?:;? (?:[\d.]+<=)?x(?:>=|<=).*)?\]", record[1] if record else "")
    return found[1] if found else None


@pytest.mark.parametrize(
    ("verb", "section", "flag"),
    [pytest.param(*each, id=f"{each[0]} {each[2].option}") for each in _sections() if each[2].default is None],
)
def test_default_in_the_help_is_that_of_the_field(verb: str, section: Section, flag: Flag):
    (default,) = (field.default for field in fields(section.config) if field.name == flag.field)
    shown = _shown_default(verb, flag.option)
    if default is None:  # what is shown in its place are words
        return
    if isinstance(default, bool) or default == ():
        assert shown is None
    elif isinstance(default, tuple):
        assert shown is not None and tuple(type(default[0])(part) for part in shown.split(",")) == default
    else:
        assert shown is not None and type(default)(shown) == default


#: Options whose value goes to a function, or to a class that is too heavy for the command line to import.
HANDED_ON = [
    ("audit", "--sample", "embedstore.search.audits.leaks:find_leaks", "sample"),
    ("audit", "--sample", "embedstore.search.audits.duplicates:find_duplicates", "sample"),
    ("audit", "--sample", "embedstore.search.audits.outliers:find_outliers", "sample"),
    ("audit", "--sample", "embedstore.api.collection:Collection.find_leaks", "sample"),
    ("audit", "--sample", "embedstore.api.collection:Collection.find_duplicates", "sample"),
    ("audit", "--sample", "embedstore.api.collection:Collection.find_outliers", "sample"),
    ("compact", "--keep-hours", "embedstore.api.store:Store.compact", "keep_hours"),
    ("export", "--origin", "embedstore.export:ExportRequest", "origin"),
    ("export", "--min-probability", "embedstore.export:ExportRequest", "min_probability"),
    ("export", "--picture-px", "embedstore.export:ExportRequest", "picture_px"),
    ("label import", "--format", "embedstore.labels:ImportConfig", "format"),
    ("label import", "--within", "embedstore.labels:ImportConfig", "within"),
    ("label export", "--origin", "embedstore.labels.exporting:write_labels", "origin"),
    ("search", "--not-weight", "embedstore.search:away_from", "weight"),
    ("search", "--not-weight", "embedstore.api.collection:Collection.search", "away_weight"),
    ("search", "-k", "embedstore.api.collection:Collection.similar_slides", "k"),
    ("synthesize", "--slides", "synthetic_slides:write_demo_collection", "slides"),
    ("synthesize", "--size", "synthetic_slides:write_demo_collection", "size_px"),
    ("synthesize", "--mpp", "synthetic_slides:write_demo_collection", "mpp"),
    ("synthesize", "--seed", "synthetic_slides:write_demo_collection", "seed"),
]


@pytest.mark.parametrize(("verb", "option", "target", "parameter"), HANDED_ON)
def test_default_in_the_help_is_that_of_the_function(verb: str, option: str, target: str, parameter: str):
    module, _, name = target.partition(":")
    default = signature(attrgetter(name)(importlib.import_module(module))).parameters[parameter].default
    shown = _shown_default(verb, option)
    if isinstance(default, tuple):
        default = "x".join(map(str, default))
    assert shown is not None and type(default)(shown) == default


def test_no_number_is_typed_by_hand_into_a_default():
    """Numbers come from the settings class, or from click's own `default`; words may stand in the text."""
    texts = [
        (f"{path}:{node.lineno}", node.value)
        for path in source_files()
        if path.parent == Path("cli")
        for node in ast.walk(syntax_tree(path))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    assert not [(where, text) for where, text in texts if re.search(r"\[default: [^]]*\d", text)]
    calls = [
        node
        for path in source_files()
        if path.parent == Path("cli")
        for node in ast.walk(syntax_tree(path))
        if isinstance(node, ast.Call)
    ]
    flags = [node for node in calls if isinstance(node.func, ast.Name) and node.func.id == "Flag"]
    defaults = [word.value for node in flags for word in node.keywords if word.arg == "default"]
    assert not [node.value for node in defaults if isinstance(node, ast.Constant) and re.search(r"\d", node.value)]


@cache
def _configurations() -> list[tuple[str, ast.ClassDef]]:
    """(where, class) of every configuration."""
    return [
        (f"{path}:{node.lineno} {node.name}", node)
        for path in files_with(r"^\s*class \w+(Config|Recipe)\b")
        for node in statements(path)
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
