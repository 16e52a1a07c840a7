"""What the operating system, Lance and an object store say of a file or a store, in the words of this library."""

import errno
import functools
import inspect
import os
import re
from collections.abc import Callable
from typing import Any, TypeVar

from embedstore.errors import AccessError, EmbedStoreError

T = TypeVar("T")

#: {error number: the next step}; each of them is a state of the machine, and not a fault of this library.
_PERMISSION = "check its permissions, or name another place"
_SPACE = "free some space there"
NEXT_STEPS = {
    errno.EACCES: _PERMISSION,
    errno.EPERM: _PERMISSION,
    errno.EROFS: _PERMISSION,
    errno.ENOSPC: _SPACE,
    errno.EDQUOT: _SPACE,
    errno.EFBIG: "raise the limit on the size of files (`ulimit -f`)",
    errno.EMFILE: "raise the limit on open files (`ulimit -n`)",
    errno.ENFILE: "raise the limit on open files (`ulimit -n`)",
    errno.ENAMETOOLONG: "give it a shorter name",
    errno.ENOTDIR: "a file stands where a folder is expected; name another place",
    errno.EISDIR: "it is a folder; name a file",
    errno.ENOENT: "check the path, and that nothing was moved or removed meanwhile",
    errno.EIO: "check the disk",
    errno.ESTALE: "check the disk, or whether its server is reachable",
    errno.ENOTCONN: "check the disk, or whether its server is reachable",
    errno.ELOOP: "its links go round in a circle; name another place",
}
_OS_ERROR = re.compile(r"\(os error (\d+)\)")
_TABLE = re.compile(r'(?:path "?|file |PUT of |ot found: |location )([^"\n]+?)/([^/"\n]+)\.lance\b')
_STATUS = re.compile(r"status code: (\d{3}(?: [A-Z][A-Za-z]+)*)|status: (\d{3})")
_CODE = re.compile(r"<Code>(\w+)</Code>")
#: Where in Lance's source an error was raised: the mark of an error of Lance.
_SOURCE = re.compile(r",? ?(?:External error: ?|LanceError\(\w+\): |/[^\s,]*\.rs:\d+(?::\d+)?)")
#: So much is shown of a message that is not understood, characters.
SHOWN_TEXT = 300


def access_error(error: BaseException) -> EmbedStoreError | None:
    """The error of this library for one that tells of the machine or of a store.

    Returns:
        None for every other error, such as a fault of the program.
    """
    if isinstance(error, EmbedStoreError):
        return error
    text = str(error)
    if _SOURCE.search(text) or "Failed to connect to namespace" in text or type(error).__name__ == "PanicException":
        return AccessError(_said_by_lance(text))
    if isinstance(error, OSError) and error.errno in NEXT_STEPS:
        path = error.filename2 or error.filename
        what = f"{os.fsdecode(path)!r}" if isinstance(path, str | bytes | os.PathLike) else "a file"
        return AccessError(f"{what} cannot be read or written: {os.strerror(error.errno)}; {NEXT_STEPS[error.errno]}")
    return None


def _said_by_lance(text: str) -> str:
    where = "the store"
    if found := _TABLE.search(text):
        where = f"table {found[2]!r} of the store{f' {found[1]}' if found[1].startswith('/') else ''}"
    if status := _STATUS.search(text):
        code = _CODE.search(text)
        answered = f"{where}: the object store answered {status[1] or status[2]}{f' ({code[1]})' if code else ''}"
        if (status[1] or status[2]).startswith(("5", "429")):
            return f"{answered} after several tries: it cannot serve for now; run this again once it does"
        return (
            f"{answered}; check that the bucket is there, and that the credentials in the environment "
            "(AWS_ACCESS_KEY_ID, AWS_ENDPOINT and so on) are valid and allow to read, write and delete"
        )
    if number := _OS_ERROR.search(text):
        code_number = int(number[1])
        step = NEXT_STEPS.get(code_number, "check the disk")
        return f"{where} cannot be read or written: {os.strerror(code_number)}; {step}"
    if any(mark in text for mark in ("error sending request", "HttpError {", "timed out")):
        return (
            f"{where}: the object store does not answer; check AWS_ENDPOINT, the network and the service; where it is "
            "only slow, raise the seconds that it may be silent for (AWS_READ_TIMEOUT=60s)"
        )
    said = " ".join(_SOURCE.sub("", text).split())[:SHOWN_TEXT]
    if "not found" in text.lower():
        return f"{where} lacks a file: {said}; was it removed, or copied in part?"
    return f"{where} cannot be read or written: {said}; `embedstore doctor --store PATH` checks it"


def tells_access_errors(target: T) -> T:
    """Decorate a function, or all methods of a class, to raise `access_error`'s errors instead of raw ones."""
    if not inspect.isclass(target):
        return _telling(target)  # type: ignore[arg-type]
    for name, member in list(vars(target).items()):
        if isinstance(member, property):
            setattr(target, name, property(_telling(member.fget), doc=member.__doc__))  # type: ignore[arg-type]
        elif isinstance(member, functools.cached_property):
            member.func = _telling(member.func)
        elif inspect.isfunction(member):
            setattr(target, name, _telling(member))
    return target


def _telling(function: Callable[..., Any]) -> Any:
    @functools.wraps(function)
    def telling(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except EmbedStoreError:
            raise
        except BaseException as error:  # Lance's panics are no Exceptions
            if told := access_error(error):
                raise told from error
            raise

    return telling
