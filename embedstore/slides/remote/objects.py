"""Objects of an object store: listed, looked up and read in parts. The only home of obstore."""

import functools
import logging
import os
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from embedstore.errors import AccessError, SlideChangedError, SlideFetchError, SlideNotFoundError
from embedstore.uris import split_uri

if TYPE_CHECKING:
    from obstore.store import ObjectStore

T = TypeVar("T")
log = logging.getLogger(__name__)

#: Pauses between tries of a request, seconds: an object store that is away for a minute costs a slide nothing.
PAUSES_S = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0)
#: The same for a request that somebody waits for before anything has begun.
FIRST_PAUSES_S = (0.5, 1.0, 2.0)
#: A server that sends nothing for so long does not answer.
SILENT_S = 30
#: A whole request: a part of 8 MB at 64 kB a second.
REQUEST_S = 120
_ending = threading.Event()
CLIENT_OPTIONS = (
    "allow_http", "allow_invalid_certificates", "connect_timeout", "proxy_url", "proxy_ca_certificate",
    "proxy_excludes", "read_timeout", "root_certificate", "timeout", "user_agent",
)  # fmt: skip
_STATUS = re.compile(r"status code: (\d{3}(?: [A-Z][A-Za-z]+)*)|status: (\d{3})")
_CODE = re.compile(r"<Code>(\w+)</Code>")
#: What leads to a store, by the first letter of its scheme.
VARIABLES = {
    "s": "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT and so on",
    "g": "GOOGLE_APPLICATION_CREDENTIALS and so on",
    "a": "AZURE_STORAGE_ACCOUNT_NAME, AZURE_STORAGE_ACCOUNT_KEY and so on",
}
#: What S3 says of credentials that open nothing, and not only this object.
_OF_ALL = {
    "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "TokenRefreshRequired",
    "AuthorizationHeaderMalformed", "RequestTimeTooSkewed",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class RemoteObject:
    """An object as its store has it now.

    Attributes:
        uri: Its address.
        size: Bytes.
        version: What changes whenever it is written: its ETag, or the time where the store has none.
        is_tagged: The version is an ETag, which a read can ask for.
    """

    uri: str
    size: int
    version: str
    is_tagged: bool


def list_objects(uri: str, *, patient: bool = False) -> Iterator[RemoteObject]:
    """The objects below an address, as of the folder and all folders in it, sorted by address.

    Args:
        patient: Something depends on it that has begun: a store that is away is waited for.
    Raises:
        AccessError: the store does not answer, or refuses; a SlideFetchError where `patient`.
    """
    root, key = split_uri(uri)

    def listed() -> list[Any]:
        import obstore

        return [meta for chunk in obstore.list(_store(root), prefix=key or None, chunk_size=1000) for meta in chunk]

    found = _tried(listed, uri, patient=patient)
    objects = sorted((_object(root, meta) for meta in found), key=lambda each: each.uri)
    folders = {uri} | {each.uri[: at.start()] for each in objects for at in re.finditer("/", each.uri)}
    yield from (each for each in objects if each.uri not in folders)  # consoles make empty objects for folders


def find_object(uri: str, *, patient: bool = False) -> RemoteObject | None:
    """The object at an address; None where there is none.

    Args:
        patient: Something depends on it that has begun: a store that is away is waited for.
    Raises:
        AccessError: the store does not answer, or refuses; a SlideFetchError where `patient`.
    """
    root, key = split_uri(uri)
    if not key:
        return None

    def head() -> Any:
        import obstore
        from obstore.exceptions import PermissionDeniedError

        try:
            return obstore.head(_store(root), key)
        except (PermissionDeniedError, PermissionError):  # without a reason, which only an answer with a body gives
            return obstore.get(_store(root), key, options={"range": (0, 1)}).meta

    try:
        return _object(root, _tried(head, uri, patient=patient))
    except SlideNotFoundError:
        return None


def read_part(found: RemoteObject, start: int, stop: int, *, may_go_on: Callable[..., bool] | None = None) -> Any:
    """Bytes `start` to `stop` - 1 of an object, as long as it has the version that was found.

    Args:
        may_go_on: The `lease` of what it is a part of, which may have ended before this begins.
    Returns:
        A buffer of exactly so many bytes.
    Raises:
        SlideNotFoundError: it is gone.
        SlideChangedError: it was changed meanwhile.
        SlideFetchError: it does not come.
        AccessError: the store refuses the credentials.
    """
    root, key = split_uri(found.uri)

    def read() -> Any:
        import obstore

        options: dict[str, Any] = {"range": (start, stop)}
        if found.is_tagged:
            options["if_match"] = found.version
        answer = obstore.get(_store(root), key, options=options)  # type: ignore[arg-type]
        if _object(root, answer.meta).version != found.version:
            raise changed(found.uri)
        data = answer.bytes()
        if len(data) != stop - start:
            raise OSError(f"{len(data)} bytes of {stop - start} came")
        return data

    return _tried(read, found.uri, patient=True, may_go_on=may_go_on)


def lease() -> Callable[..., bool]:
    """A function that tells whether requests that begin now may go on; given seconds, it waits for so long before."""
    ending = _ending

    def may_go_on(wait_s: float = 0.0) -> bool:
        ended = ending.wait(wait_s) if wait_s else ending.is_set()
        return not ended and threading.main_thread().is_alive()  # which ends first where a process ends

    return may_go_on


def end_requests() -> None:
    """End all that are under way in this process, as the run ends; those that begin later are served."""
    global _ending
    ended, _ending = _ending, threading.Event()
    ended.set()


def changed(uri: str) -> SlideChangedError:
    """The error of an object that is not the one that was found before."""
    return SlideChangedError(
        f"{uri} was changed while it was read; once it is whole, ingest it again with --retry-failed"
    )


def _object(root: str, meta: Any) -> RemoteObject:
    tag = meta["e_tag"]
    is_tagged = bool(tag) and not tag.startswith("W/")
    return RemoteObject(
        uri=f"{root}/{meta['path']}",
        size=meta["size"],
        version=tag if is_tagged else f"{meta['last_modified'].isoformat()}-{meta['size']}",
        is_tagged=is_tagged,
    )


@functools.lru_cache(maxsize=64)
def _store(root: str) -> "ObjectStore":
    """The store of a bucket, with the credentials of the environment, as Lance takes them."""
    from obstore.store import from_url

    try:
        # `_tried` tries again: it can be stopped, and says what it waits for
        return from_url(root, client_options=_client_options(root), retry_config={"max_retries": 0})
    except Exception as error:  # of an environment that it does not understand
        raise AccessError(f"{root} cannot be opened: {_said(error)}; {_credentials(root)}") from None


def _client_options(root: str) -> Any:
    """Options of connections: what the environment says of them, which the library drops where any are passed."""
    options: dict[str, Any] = {"timeout": f"{REQUEST_S}s", "read_timeout": f"{SILENT_S}s"}
    prefix = {"s": "AWS_", "g": "GOOGLE_", "a": "AZURE_"}.get(root[0], "HTTP_")
    for name in CLIENT_OPTIONS:
        if value := os.environ.get(f"{prefix}{name.upper()}"):
            options[name] = value.lower() in ("1", "true", "yes", "on") if name.startswith("allow_") else value
    if root.startswith("http://"):
        options["allow_http"] = True
    return options


def _tried(request: Callable[[], T], uri: str, *, patient: bool, may_go_on: Callable[..., bool] | None = None) -> T:
    """The answer of a request, tried again where another try may help; not patiently before anything has begun.

    Errors are told without their cause: the text of the library's holds whole requests, and so signatures.
    """
    from obstore import exceptions

    pauses_s, may_go_on = PAUSES_S if patient else FIRST_PAUSES_S, may_go_on or lease()
    for pause_s in (*pauses_s, None):
        try:
            return request()
        except (SlideChangedError, AccessError):
            raise
        except FileNotFoundError:
            raise SlideNotFoundError(f"there is no object {uri}; was it moved or deleted?") from None
        except exceptions.PreconditionError:
            raise changed(uri) from None
        except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError, PermissionError) as error:
            raise _refused(uri, error, of_all=not patient) from None
        except exceptions.InvalidPathError:
            raise AccessError(
                f"{uri} holds objects whose names no folder could have (//, /./ or /../); rename them, or name the "
                "slides in a list"
            ) from None
        except (exceptions.BaseError, OSError, ValueError) as error:
            if "NoSuchBucket" in str(error):
                raise AccessError(
                    f"there is no bucket for {uri}; check the address, AWS_ENDPOINT and AWS_REGION"
                ) from None
            status = _STATUS.search(str(error))
            if status is not None and (status[1] or status[2])[:3] in ("400", "401", "403", "405"):
                raise _refused(uri, error, of_all=not patient) from None
            if pause_s is None or not may_go_on():
                check = (
                    f"{_said(error)}, in {len(pauses_s) + 1} tries; check the network and the service (AWS_ENDPOINT)"
                )
                if not patient:
                    raise AccessError(f"the object store of {uri} does not answer: {check}") from None
                raise SlideFetchError(f"{uri} does not come: {check}") from None
            log.info("%s: %s; trying again in %.1f s", uri, _said(error), pause_s)
        may_go_on(pause_s)
    raise AssertionError


def _refused(uri: str, error: Exception, *, of_all: bool) -> AccessError | SlideFetchError:
    """The error of a request that was refused: of this object alone, or of all."""
    code = _CODE.search(str(error))
    message = f"the object store refuses to show {uri} ({_said(error)}); {_credentials(uri)}"
    return AccessError(message) if of_all or (code is not None and code[1] in _OF_ALL) else SlideFetchError(message)


def _credentials(uri: str) -> str:
    """What to do where a store refuses."""
    variables = VARIABLES.get(uri[0])
    if variables is None:
        return "files on a web server are read without a login; fetch this one, or bring it to an object store"
    return f"check that the credentials in the environment ({variables}) are valid here, and allow to list and read"


def _said(error: Exception) -> str:
    """What an error of the library tells, in a few words that quote no address."""
    text = str(error)
    if "169.254.169.254" in text or "metadata.google" in text or "TokenRequest" in text:
        return "no credentials are set, and this machine has none of its own"
    if status := _STATUS.search(text):
        code = _CODE.search(text)
        return f"it answered {status[1] or status[2]}{f' ({code[1]})' if code else ''}"
    if lacking := re.search(r"[A-Z]\w+ must be specified", text):
        return lacking[0]
    if "timed out" in text or "TimedOut" in text:
        return "no answer in time"
    if "bytes of" in text:
        return text
    if isinstance(error, PermissionError):
        return "no permission"
    if any(mark in text for mark in ("error sending request", "HTTP error", "connection", "body")):
        return "no connection, or one that broke off"
    return type(error).__name__
