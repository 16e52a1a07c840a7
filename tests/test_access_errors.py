"""Raw errors of the machine, of Lance and of object stores become one sentence of this library."""

import errno
import os
from functools import cached_property

import pytest

from embedstore.access_errors import access_error, tells_access_errors
from embedstore.errors import AccessError, ConfigError

_SOURCE = "/rust/lance-io/src/object_store.rs:1019:34"
_PUT = (
    "LanceError(IO): single PUT of s/slides.lance/data/0101.lance failed after 8.05203ms (204 bytes): The operation "
    "lacked the necessary privileges to complete for path s/slides.lance/data/0101.lance: Error performing PUT "
    "http://127.0.0.1:1/b/s/slides.lance/data/0101.lance in 7.9ms - Server returned non-2xx status code: 403 "
    'Forbidden: <?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>, ' + _SOURCE
)


class PanicException(BaseException):
    """As pyo3's: not an Exception."""


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        (PermissionError(errno.EACCES, "Permission denied", "/d/a"), "'/d/a' cannot be read or written: Permission de"),
        (OSError(errno.ENOSPC, "No space left on device"), "a file cannot be .*: No space left on device; free some"),
        (OSError(errno.ENAMETOOLONG, "File name too long", b"/d/x"), "'/d/x' .*; give it a shorter name"),
        (
            OSError(f'Permission denied (os error 13) at path "/my store/heads.lance/data/.t", {_SOURCE}'),
            "table 'heads' of the store /my store cannot be read or written: Permission denied; check its permissions",
        ),
        (
            OSError(f"LanceError(IO): Unable to open file /d/t.lance/_versions/1: full (os error 28), {_SOURCE}"),
            "table 't' of the store /d cannot be .*: No space left on device; free some space",
        ),
        (
            OSError(f"Not found: d/slides.lance/_versions, {_SOURCE}"),
            "table 'slides' of the store lacks a file: Not found: d/slides.lance/_versions; was it removed",
        ),
        (OSError(_PUT), r"table 'slides' of the store: the object store answered 403 Forbidden \(AccessDenied\)"),
        (
            OSError(f"LanceError(IO): Server returned status code: 503 Slow Down: <Code>SlowDown</Code>{_SOURCE}"),
            r"the object store answered 503 Slow Down \(SlowDown\) after several tries: it cannot serve for now; run",
        ),
        (
            ValueError("Invalid input, Failed to connect to namespace: IO { inner: Status { status: 404, body: } }"),
            "the store: the object store answered 404; check",
        ),
        (OSError(f"LanceError(IO): error sending request, {_SOURCE}"), "does not answer; check AWS_ENDPOINT"),
        (
            ValueError("Failed to connect to namespace: IO { inner: Http(HttpError { kind: Connect, source: x }) }"),
            "the store: the object store does not answer",
        ),
        (PanicException("called unwrap on None"), "the store cannot be read or written: called unwrap on None"),
    ],
)  # fmt: skip
def test_an_error_of_the_machine_becomes_a_sentence(raw: BaseException, sentence: str):
    with pytest.raises(AccessError, match=sentence) as told:
        _raises(raw)
    assert told.value.__cause__ is raw
    assert ".rs:" not in str(told.value) and "LanceError" not in str(told.value) and "\n" not in str(told.value)


@pytest.mark.parametrize("fault", [KeyError("x"), ValueError("no"), OSError("hub"), BrokenPipeError(32, "pipe")])
def test_other_errors_stay_what_they_are(fault: Exception):
    assert access_error(fault) is None
    with pytest.raises(type(fault)):
        _raises(fault)


def test_errors_of_this_library_stay_what_they_are():
    error = ConfigError("wrong")
    assert access_error(error) is error
    with pytest.raises(ConfigError, match=r"^wrong$"):
        _raises(error)


def test_a_class_tells_them_from_methods_and_properties():
    @tells_access_errors
    class Shelf:
        """A shelf."""

        def method(self, name: str) -> None:
            """Open it."""
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), name)

        @property
        def length(self) -> int:
            """Its length."""
            raise PermissionError(errno.EACCES, "Permission denied", "p")

        @cached_property
        def kept(self) -> int:
            raise PermissionError(errno.EACCES, "Permission denied", "c")

    assert (Shelf.method.__doc__, Shelf.length.__doc__) == ("Open it.", "Its length.")
    with pytest.raises(AccessError, match=r"'m' .*it is a folder; name a file"):
        Shelf().method("m")
    with pytest.raises(AccessError, match="'p'"):
        _ = Shelf().length
    with pytest.raises(AccessError, match="'c'"):
        _ = Shelf().kept


@tells_access_errors
def _raises(error: BaseException) -> None:
    raise error
