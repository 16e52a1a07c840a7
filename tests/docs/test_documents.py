"""Every command and every Python block of the documents runs, or says why it cannot run here."""

import contextlib
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from unittest import SkipTest

import pytest

import embedstore
from embedstore.config import ExecutionConfig
from tests.docs.blocks import (
    DOCUMENTS,
    REPOSITORY,
    SERVED,
    bash_blocks,
    check_options,
    commands,
    leave_out,
    parse_document,
)

#: Made from nothing; every other document starts from what it leaves.
QUICK_START = "docs/quickstart.md"
#: Starts from slides and annotations, once in the shell and once in Python.
README = "README.md"
#: Names files of other repositories.
COMPARISON = "docs/comparison.md"
#: Blocks of text show output or a drawing; the others are run.
LANGUAGES = {"bash", "python", "toml", "text"}
INDENTED_COMMAND = re.compile(r"^ {4,}(embedstore|make|pip|python) ", re.MULTILINE)
INLINE_COMMAND = re.compile(r"`(embedstore [^`…]+)`")
#: A file or folder of the repository, perhaps with a star.
INLINE_PATH = re.compile(r"`((?:embedstore|heads|actors|cli|synthetic_slides|benchmarks|tests|tools|docs)/[\w./*-]*)`")
#: {what an example does: what has to be installed for it, beside embedstore}.
NEEDED = {
    "\nembedstore map --store my-store --out": 'pip install "embedstore[map]"',
    ").to_pandas()\n": "pip install pandas",
    "hits.to_pandas()\n": "pip install pandas",
}
BLOCK = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def _text(path: str) -> str:
    return (REPOSITORY / path).read_text(encoding="utf-8")


WITH_BLOCKS = [path for path in DOCUMENTS if BLOCK.search(_text(path))]


def _run(path: str, *languages: str) -> None:
    """Run the blocks of a document, or those of some languages, in the current folder.

    A block that starts the service is run for every language: the others ask it.
    """
    try:
        for example in parse_document(path).examples():
            left_out = languages and example.region.lexemes.get("arguments", languages[0]) not in languages
            if left_out and "embedstore serve" not in example.parsed:
                example.region.evaluator = leave_out
            with contextlib.suppress(SkipTest):
                example.evaluate()
    finally:
        SERVED.stop()


@pytest.fixture(scope="module", autouse=True)
def _one_process() -> Iterator[None]:
    """Ingest in Python is one process also on a machine with a GPU, as on the command line (`run_commands`)."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ExecutionConfig.__init__.__kwdefaults__, "in_process", True)
        yield


@pytest.fixture(scope="module")
def quick_start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which everything of the quick start was done."""
    folder = tmp_path_factory.mktemp("quick-start")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.chdir(folder)
        _run(QUICK_START)
    return folder


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder, the current one."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.syspath_prepend(work)
    yield work


@pytest.mark.slow
def test_quick_start_runs(quick_start: Path) -> None:
    assert len(list((quick_start / "maps").glob("*.png"))) == len(list((quick_start / "slides").glob("*.svs")))
    assert (quick_start / "like.png").stat().st_size > 0


@pytest.mark.slow
@pytest.mark.parametrize("language", ["bash", "python"])
def test_readme_runs(language: str, quick_start: Path, folder: Path) -> None:
    shutil.copytree(quick_start / "slides", folder / "slides")
    (folder / "qupath").mkdir()
    for path in (folder / "slides").glob("*.geojson"):
        drawn = json.loads(path.read_text(encoding="utf-8"))
        drawn["features"] = [each for each in drawn["features"] if _class(each) == "dense nuclei"]
        for each in drawn["features"]:
            each["properties"]["classification"]["name"] = "tumour"
        (folder / "qupath" / path.name).write_text(json.dumps(drawn), encoding="utf-8")
        path.unlink()
    _run(README, language)
    assert list((folder / "maps").glob("*.png"))


def _class(feature: dict) -> str:
    return feature["properties"]["classification"]["name"]


@pytest.mark.slow
@pytest.mark.parametrize("path", [path for path in WITH_BLOCKS if path not in (QUICK_START, README)])
def test_document_runs(path: str, quick_start: Path, folder: Path) -> None:
    shutil.copytree(quick_start, folder, dirs_exist_ok=True)
    _run(path)
    _check_that_the_next_can_begin()


def _check_that_the_next_can_begin() -> None:
    """Readers go from page to page with one store: none may leave what breaks the examples of another."""
    store = embedstore.open("my-store")
    assert [collection.name for collection in store.collections] == ["stain-texture-256px-0.5mpp"]
    head = store.head("tumour-linear")
    assert head.has_predicted
    assert {"tumour", "normal"} <= set(store.labels.table("tumour")["label"])


@pytest.mark.parametrize("path", DOCUMENTS)
def test_blocks_have_a_language(path: str) -> None:
    fences = re.findall(r"^ *```(.*)$", _text(path), flags=re.MULTILINE)
    assert set(fences[::2]) <= LANGUAGES
    assert set(fences[1::2]) <= {""}
    assert not INDENTED_COMMAND.search(BLOCK.sub("", _text(path)))


@pytest.mark.parametrize("path", DOCUMENTS)
def test_commands_exist_with_their_options(path: str) -> None:
    for line, text in bash_blocks(path):
        for words in commands(text):
            _check(words, f"{path}:{line}")
    for command in INLINE_COMMAND.findall(BLOCK.sub("", _text(path))):
        for words in commands(command):
            _check(words, path)


def _check(words: list[str], where: str) -> None:
    if words[0] == "embedstore":
        check_options([word for word in words if word != "&"])
    elif words[0] == "make":
        targets = re.findall(r"^([a-z-]+):", _text("Makefile"), flags=re.MULTILINE)
        assert {word for word in words[1:] if "=" not in word} <= set(targets), where
    elif words[0] == "python" and words[1] != "-m":
        assert (REPOSITORY / words[1]).is_file(), f"{where}: {words[1]}"
    elif words[:3] == ["ray", "job", "submit"]:
        _check(words[words.index("--") + 1 :], where)
    elif words[0] == "sbatch" or words[:2] == ["kubectl", "apply"]:
        assert (REPOSITORY / next(word for word in words if word.startswith("deploy/"))).is_file(), where
    else:
        assert words[0] in ("pip", "python", "jupyter", "curl", "docker", "export", "kubectl", "ray", "rsync"), where


def test_marks_give_a_reason() -> None:
    marks = [mark for path in DOCUMENTS for mark in re.findall(r"<!--+ *skip.*-->", _text(path))]
    assert marks
    assert not [mark for mark in marks if not re.fullmatch(r'<!-- skip: next "[^"]+" -->', mark)]


@pytest.mark.parametrize("path", WITH_BLOCKS)
def test_pages_say_what_their_examples_need_besides(path: str) -> None:
    """The tests have every extra; who installs embedstore alone is told of it before the example that needs one."""
    text = _text(path)
    for example, needed in NEEDED.items():
        if example in text:
            assert needed in text[: text.index(example)], f"{path}: {example} wants `{needed}`"


@pytest.mark.parametrize("path", [path for path in DOCUMENTS if path != COMPARISON])
def test_named_files_exist(path: str) -> None:
    missing = [name for name in INLINE_PATH.findall(_text(path)) if not any(REPOSITORY.glob(name.rstrip("/")))]
    assert not missing
