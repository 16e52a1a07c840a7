"""The code blocks of the documents, and how each kind is run."""

import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest_socket
from sybil import Document, Example, Sybil
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.markdown import CodeBlockParser, SkipParser

from cli.main import app

REPOSITORY = Path(__file__).resolve().parents[2]
AT_THE_TOP = ("README.md", "ARCHITECTURE.md", "SECURITY.md")
DOCUMENTS = sorted(
    path.relative_to(REPOSITORY).as_posix()
    for path in (*(REPOSITORY / name for name in AT_THE_TOP), *(REPOSITORY / "docs").rglob("*.md"))
)
#: A first line that names the file which the block shows.
FILE_NAME = re.compile(r"# ([\w.-]+\.(?:py|toml))$", re.MULTILINE)
#: Found something: a result of `audit`, not a failure.
AUDIT_FOUND = 3
#: Where documents say that the service is.
ADDRESS = "127.0.0.1:8765"

run_source = PythonEvaluator()


def parse_document(path: str) -> Document:
    """A document with its blocks of bash, Python and TOML, and its marks `<!-- skip: next "reason" -->`."""
    parsers = [
        CodeBlockParser("bash", run_commands),
        CodeBlockParser("python", run_python),
        CodeBlockParser("toml", write_toml),
        SkipParser(),
    ]
    return Sybil(parsers).parse(REPOSITORY / path)


def bash_blocks(path: str) -> Iterator[tuple[int, str]]:
    """(line, text) of every block of bash, marked or not."""
    for example in parse_document(path).examples():
        if example.region.evaluator is run_commands:
            yield example.line, example.parsed


def commands(text: str) -> Iterator[list[str]]:
    """The words of each command in a block of bash."""
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        while "&&" in words:
            yield words[: words.index("&&")]
            words = words[words.index("&&") + 1 :]
        if words:
            yield words


def run_commands(example: Example) -> None:
    """Run the commands of a block in this process; an ingest too, also on a machine with a GPU."""
    for words in commands(example.parsed):
        if words[0] == "curl":
            _ask(words)
            continue
        if words[:2] == ["embedstore", "serve"]:
            SERVED.start(words)
            continue
        assert words[0] == "embedstore", f"`{shlex.join(words)}` cannot be run here; mark the block with skip: next"
        ray = words[1] in ("ingest", "demo") and "--in-process" not in words
        code = _exit_code([*words[1:], *(["--in-process"] if ray else [])])
        assert code == 0 or (words[1] == "audit" and code == AUDIT_FOUND), f"`{shlex.join(words)}` exits with {code}"


class _Served:
    """The service that a document starts in the background, on a port of its own."""

    def __init__(self) -> None:
        self._process: subprocess.Popen | None = None
        self.address = ""

    def start(self, words: list[str]) -> None:
        """Start `embedstore serve … &` as a process, which ends with the document."""
        self.stop()
        assert words[-1] == "&", f"`{shlex.join(words)}` never ends; end it with &"
        command = [sys.executable, "-m", "cli.main", *words[1:-1], "--port", "0"]
        environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
        self._process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
        assert self._process.stderr is not None
        line = self._process.stderr.readline()
        assert "http://" in line, line + self._process.stderr.read()
        self.address = line.partition("http://")[2].split()[0]
        pytest_socket.enable_socket()  # of the test, for Python that asks the service

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.communicate(timeout=300)
            self._process = None


SERVED = _Served()


def _ask(words: list[str]) -> None:
    """Run a curl command against the service that the document started, and expect success."""
    assert SERVED.address, f"`{shlex.join(words)}` asks no service that this document started"
    words = [word.replace(ADDRESS, SERVED.address) for word in words]
    done = subprocess.run([*words, "--fail-with-body"], capture_output=True, check=False, timeout=300)
    assert done.returncode == 0, f"`{shlex.join(words)}`: {done.stdout.decode()}{done.stderr.decode()}"


def _exit_code(arguments: list[str]) -> int:
    try:
        return app(arguments, prog_name="embedstore", standalone_mode=False) or 0
    except click.exceptions.Exit as done:
        return done.exit_code
    except SystemExit as done:
        return int(done.code or 0)


def run_python(example: Example) -> None:
    """Run a block, and write it to the file that its first line names."""
    _write_file(example.parsed)
    if ADDRESS in example.parsed:
        parsed = example.parsed
        example.parsed = type(parsed)(parsed.replace(ADDRESS, SERVED.address), parsed.offset, parsed.line_offset)
    run_source(example)


def leave_out(example: Example) -> None:
    """Do nothing with a block."""


def write_toml(example: Example) -> None:
    tomllib.loads(example.parsed)
    _write_file(example.parsed)


def _write_file(text: str) -> None:
    if name := FILE_NAME.match(text):
        Path(name[1]).write_text(text, encoding="utf-8")


def check_options(words: list[str]) -> None:
    """Raise click.UsageError where a command or an option does not exist."""
    command: click.Command = app
    rest = words[1:]
    context = click.Context(command, info_name="embedstore")
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        child = command.get_command(context, rest[0])
        if child is None:
            raise click.UsageError(f"no command {rest[0]!r} in `{shlex.join(words)}`")
        command, rest = child, rest[1:]
        context = click.Context(command, info_name=words[1], parent=context)
    command.make_parser(context).parse_args(list(rest))
