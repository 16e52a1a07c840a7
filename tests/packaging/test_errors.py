"""The one tree of errors: each is a built-in too, and survives the way from process to process."""

import ast
import builtins
import inspect
import pickle
from pathlib import Path

import pytest

from embedstore import errors
from tests.packaging.sources import files_with, statements

CLASSES = [
    each
    for _, each in inspect.getmembers(errors, inspect.isclass)
    if issubclass(each, BaseException) and each.__module__ == errors.__name__
]
LEAVES = [each for each in CLASSES if not any(other is not each and issubclass(other, each) for other in CLASSES)]
MESSAGE = "slide 'ä.svs' has no resolution; expected openslide.mpp-x; pass --mpp 0.25 if you know it"


@pytest.mark.parametrize("error", CLASSES, ids=lambda error: error.__name__)
def test_error_survives_pickling(error):
    back = pickle.loads(pickle.dumps(error(MESSAGE)))
    assert type(back) is error
    assert back.args == (MESSAGE,)
    assert str(back) == str(error(MESSAGE))


@pytest.mark.parametrize("error", CLASSES, ids=lambda error: error.__name__)
def test_error_is_of_the_tree_and_documented(error):
    assert issubclass(error, errors.EmbedStoreError)
    assert inspect.cleandoc(error.__doc__ or "").endswith(".")


@pytest.mark.parametrize("error", LEAVES, ids=lambda error: error.__name__)
def test_error_is_a_built_in_too(error):
    built_in = [each for each in error.__mro__ if each.__module__ == builtins.__name__]
    assert set(built_in) - {Exception, BaseException, object}


@pytest.mark.parametrize(
    "error", [each for each in LEAVES if not issubclass(each, LookupError)], ids=lambda e: e.__name__
)
def test_error_shows_its_message(error):
    assert str(error(MESSAGE)) == MESSAGE


@pytest.mark.parametrize("error", [errors.EmbedStoreError, errors.SlideNotFoundError])
def test_what_a_message_quotes_cannot_change_a_terminal(error):
    shown = str(error("slide 'a\0\x1b[31m\u202e\udcff ä 腫瘍.svs' is\r\nnot there"))
    assert shown == "slide 'a\\x00\\x1b[31m\\u202e\\udcff ä 腫瘍.svs' is not there"
    long = str(error(f"a list of {'names ' * 1000}; shorten it"))
    assert len(long) < 1300 and long.startswith("a list of names") and long.endswith("; shorten it")


def test_no_public_error_is_defined_elsewhere():
    wrong = []
    for path in files_with(r"^\s*class \w+\([^:]*(Error|Exception)\b"):
        if path == Path("embedstore/errors.py"):
            continue
        for node in statements(path):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                bases = [ast.unparse(base) for base in node.bases]
                if any(base.endswith(("Error", "Exception")) for base in bases):
                    wrong.append(f"{path}:{node.lineno} {node.name}")
    assert not wrong, "belongs into embedstore/errors.py:\n" + "\n".join(wrong)


def test_no_bare_except():
    wrong = [
        f"{path}:{node.lineno}"
        for path in files_with(r"\bexcept\s*:")
        for node in statements(path)
        if isinstance(node, ast.ExceptHandler) and node.type is None
    ]
    assert not wrong
