"""How commands end: signals, closed pipes, questions that nobody answers; with --json, stdout is JSON alone."""

import errno
import gc
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from cli import options
from cli.endings import closed_pipe_exits, exit_codes
from cli.main import COMMANDS, app
from embedstore.errors import ConfigError
from tests.export.prediction_scene import grid, make_store
from tests.integration.conftest import embedstore
from tests.store.predicted import facts, predict, two


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_command_quietly_after_taking_back_what_it_wrote(
    number: signal.Signals, capsys: pytest.CaptureFixture[str]
):
    before, taken_back = signal.signal(number, signal.SIG_DFL), []
    try:
        with pytest.raises(SystemExit) as ended, exit_codes():
            try:
                signal.raise_signal(number)
            finally:
                taken_back.append(True)
        assert (ended.value.code, taken_back) == (128 + number, [True])
        assert capsys.readouterr() == ("", "")
        assert signal.getsignal(number) is signal.SIG_DFL
    finally:
        signal.signal(number, before)


def test_a_signal_that_is_ignored_stays_so():
    """As by `nohup`."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with exit_codes():
            signal.raise_signal(signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (KeyboardInterrupt(), 130, "interrupted\n"),
        (click.Abort(), 130, "interrupted\n"),
        (ConfigError("too many"), 1, "error: too many\n"),
        (OSError(errno.ENOSPC, "No space left on device", "/d/x"), 1, "error: '/d/x' cannot be read or written: No sp"),
        (click.UsageError("no such thing"), 2, "Error: no such thing"),
    ],
)
def test_an_error_is_a_line_and_an_exit_code(error: BaseException, code: int, said: str, capsys):
    with pytest.raises(SystemExit) as ended, exit_codes():
        raise error
    assert ended.value.code == code
    assert said in capsys.readouterr().err


def test_a_closed_pipe_ends_a_command_as_it_ends_cat():
    program = "import sys; sys.argv = ['embedstore', 'extractors']; from cli import main; main.main()"
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    assert (process.wait(timeout=300), process.stderr.read()) == (141, b"")
    process.stderr.close()
    with pytest.raises(FileNotFoundError), closed_pipe_exits():
        raise FileNotFoundError


@pytest.mark.parametrize(
    ("answer", "code", "said"), [("", 2, "add --yes"), ("n\n", 1, "nothing was removed"), ("y\n", 0, "removed it")]
)
def test_a_question_that_nobody_answers_says_what_to_add(answer: str, code: int, said: str):
    @click.command()
    def remove() -> None:
        options.confirm("Remove it?")
        click.echo("removed it", err=True)

    done = CliRunner().invoke(remove, input=answer)
    assert (done.exit_code, done.stdout) == (code, "")
    assert said in done.stderr


#: {command: arguments that print JSON}; STORE, OUT and LABELS are filled in.
JSON = {
    "access-log": "-s STORE",
    "audit": "-s STORE --sample 5",
    "augmenters": "-s STORE",
    "compact": "-s STORE",
    "doctor": "-s STORE",
    "encode-slides": "-s STORE",
    "export": "-s STORE --head lesion --format csv --out OUT/x.csv",
    "extractors": "",
    "heads": "-s STORE",
    "index": "-s STORE",
    "label import": "LABELS -s STORE --task t",
    "label ls": "-s STORE",
    "label add": "-s STORE --task t --class z --slide a.svs --author ann",
    "label disagreements": "-s STORE --task t",
    "label history": "-s STORE --task t",
    "label undo": "-s STORE --task t --author ann",
    "label withdraw": "-s STORE --task t --slide b.svs --of *",
    "label export": "-s STORE --task t --out OUT/labels",
    "label rm": "-s STORE --task t --yes",
    "ls": "-s STORE --tiles 2",
    "rm": "-s STORE --slide b.svs --yes",
    "search": "-s STORE --slide a.svs",
    "status": "-s STORE",
    "token create": "-s STORE --name ann",
    "token ls": "-s STORE",
}
#: Commands whose JSON is read by tests of whole ways.
ELSEWHERE = {
    "augmenters show", "demo", "evaluate", "fit-augmenter", "fit-head", "heads show", "import", "ingest", "map",
    "mistakes", "predict", "select-extractor", "show", "suggest", "synthesize", "tissue", "zero-shot",
}  # fmt: skip


def test_every_command_with_json_is_listed():
    found = set()
    for name in COMMANDS:
        command = app.get_command(click.Context(app), name)
        below = command.commands if isinstance(command, click.Group) else {}
        for path, each in {name: command, **{f"{name} {sub}": one for sub, one in below.items()}}.items():
            if any(parameter.name == "as_json" for parameter in each.params):
                found.add(path)
    assert found == JSON.keys() | ELSEWHERE


@pytest.mark.slow
def test_stdout_is_json_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    store = make_store(tmp_path, {"a.svs": grid(2, 1), "b.svs": grid(3, 1)})
    predict(store, facts(), {"a.svs": two([0.1, 0.9]), "b.svs": two([0.2, 0.8, 0.6])})
    (tmp_path / "labels.csv").write_text("slide_id,label\na.svs,x\nb.svs,y\n")
    places = {"STORE": store.uri, "OUT": str(tmp_path), "LABELS": str(tmp_path / "labels.csv")}
    for command, arguments in JSON.items():
        words = arguments.split()
        for place, path in places.items():
            words = [word.replace(place, path, 1) if word.startswith(place) else word for word in words]
        done = embedstore(*command.split(), *words, "--json")
        assert done.code in (0, 1, 3), (command, done.err)
        json.loads(done.out)


@pytest.mark.slow
@pytest.mark.parametrize("again_s", [0.02, 0.0], ids=["", "on a busy machine"])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_in_a_callback_of_the_garbage_collector_is_not_lost(
    number: signal.Signals, code: int, again_s: float, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("cli.endings.AGAIN_S", again_s)

    def collecting(phase: str, info: dict[str, int]) -> None:
        gc.callbacks.remove(collecting)
        signal.raise_signal(number)

    with pytest.raises(SystemExit) as ended, exit_codes():
        gc.callbacks.append(collecting)
        gc.collect()
        time.sleep(300)
    assert ended.value.code == code
