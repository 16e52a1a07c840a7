"""The connection to a service: requests, answers as JSON, Arrow or bytes, and failures as errors of this library."""

import contextlib
import json
import time
import warnings
import weakref
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import httpx2
import pyarrow as pa

from embedstore import errors
from embedstore.access_config import is_loopback
from embedstore.arrow_stream import ARROW, stream_of
from embedstore.errors import (
    ConfigError,
    EmbedStoreError,
    NotAuthenticatedError,
    ServiceNotReachableError,
    VersionNotFoundError,
)
from embedstore.result_table import NotedTable
from embedstore.version import __version__

#: A search may wait for its turn, and a table takes a while to come; seconds.
TIMEOUT = httpx2.Timeout(connect=10, read=300, write=60, pool=300)
#: Pauses before a request that may be sent again is sent again, seconds.
PAUSES_S = (0.2, 0.6, 1.5)
#: Connections that are kept, and for how long: less than the five seconds after which uvicorn closes them.
LIMITS = httpx2.Limits(max_connections=32, max_keepalive_connections=16, keepalive_expiry=4)
#: A table of several pages that changes while it is read is read again from its beginning, so many times.
ROUNDS = 5
#: Classes of errors by name, as a failure names them.
ERRORS = {
    name: kind for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, EmbedStoreError)
}


class Connection:
    """A pool of connections to one service, for any number of threads.

    Args:
        url: Of the service, such as http://127.0.0.1:8765.
        token: Says who asks; None where the service asks for none.
        transport: What carries the requests; TCP when None.
    Raises:
        ConfigError: the URL is none of a service.
    """

    def __init__(self, url: str, *, token: str | None = None, transport: httpx2.BaseTransport | None = None):
        self.url = _checked_url(url)
        local = is_loopback(urlsplit(self.url).hostname or "")
        if token is not None and not local and self.url.startswith("http://"):
            warnings.warn(
                f"{self.url} is not encrypted: everybody on the way can read the token; ask for it by https://",
                UserWarning,
                stacklevel=4,
            )
        headers = {"User-Agent": f"embedstore/{__version__}"}
        if token is not None:
            headers["Authorization"] = f"Bearer {_checked_token(token)}"
        self._http = httpx2.Client(
            base_url=self.url,
            headers=headers,
            timeout=TIMEOUT,
            limits=LIMITS,
            trust_env=not local,  # no proxy stands between this machine and itself
            transport=transport,
        )
        self.close = weakref.finalize(self, self._http.close)  # when called, or when nobody has it any more

    # -- one answer -------------------------------------------------------------------------

    def get(self, path: str, **params: Any) -> Any:
        """The JSON of an answer."""
        return _json(self._send("GET", path, params=params, repeat=True))

    def get_bytes(self, path: str, *, accept: str, **params: Any) -> bytes:
        """The body of an answer of one kind."""
        return self._send("GET", path, params=params, headers={"Accept": accept}, repeat=True).content

    def post(self, path: str, body: Any = None, *, reads: bool = False, **params: Any) -> Any:
        """The JSON of the answer to JSON.

        Args:
            reads: It changes nothing, so that it may be sent twice.
        """
        return _json(self._send("POST", path, **_json_body(body), params=params, repeat=reads))

    def post_bytes(self, path: str, body: bytes, *, kind: str, reads: bool = False, **params: Any) -> Any:
        """The JSON of the answer to a body of some media type; `reads` as in `post`."""
        headers = {"Content-Type": kind}
        return _json(self._send("POST", path, content=body, headers=headers, params=params, repeat=reads))

    def post_for_table(self, path: str, body: Any) -> tuple[pa.Table, dict[str, str]]:
        """The table that answers JSON which changes nothing, and facts about it."""
        sent = _json_body(body)
        sent["headers"]["Accept"] = ARROW
        return _table(self._send("POST", path, **sent, repeat=True))

    def table_for_table(self, path: str, table: pa.Table, **params: Any) -> pa.Table:
        """The table that answers a table which changes nothing."""
        headers = {"Content-Type": ARROW, "Accept": ARROW}
        body = stream_of(table).to_pybytes()
        return _table(self._send("POST", path, content=body, headers=headers, params=params, repeat=True))[0]

    def delete(self, path: str, **params: Any) -> Any:
        """The JSON of the answer."""
        return _json(self._send("DELETE", path, params=params))

    # -- tables of several pages ------------------------------------------------------------

    def table(self, path: str, *, most: int | None = None, **params: Any) -> pa.Table:
        """A whole table, whose pages come one after the other.

        Rows that are committed in the meantime neither double nor displace others. Where the answers say at which
        version of the table they were read, each further page is asked of the same version. Where that version is no
        longer kept, or a table that is paged by `offset` has changed, it is read again from its beginning.

        Args:
            most: Most rows; all when None.
        Raises:
            VersionNotFoundError: it changed in each of several rounds.
        """
        for left in reversed(range(ROUNDS)):
            try:
                table = pa.concat_tables(self._pages(path, most, params))
                return table if most is None else table.slice(0, most)
            except VersionNotFoundError:
                if not left:
                    raise
        raise AssertionError("the last round returns or raises")

    def _pages(self, path: str, most: int | None, params: Mapping[str, Any]) -> Iterator[pa.Table]:
        first, rows = True, 0
        state: tuple[str | None, ...] = ()
        further: dict[str, Any] = {}
        while first or further:
            limit = None if most is None else min(most - rows, 10_000)
            answer = self._send(
                "GET", path, params={**params, **further, "limit": limit}, headers={"Accept": ARROW}, repeat=True
            )
            page, facts = _table(answer)
            found = facts.get("version"), facts.get("total")
            if not first and found != state:
                raise VersionNotFoundError(f"the table of {path} changes all the time; try again when less is written")
            state, first = found, False
            rows += len(page)
            yield page
            if most is not None and rows >= most:
                return
            if "next" in facts:
                further = {"version": facts["version"], "start": facts["next"]}
            elif "total" in facts and len(page) and rows < int(facts["total"]):
                further = {"offset": rows}
            else:
                return

    # -- sending ----------------------------------------------------------------------------

    def _send(self, method: str, path: str, *, repeat: bool = False, **request: Any) -> httpx2.Response:
        """Send a request, and again after a pause where the connection fails and it may be `repeat`ed.

        Raises:
            ServiceNotReachableError: nothing answers.
            EmbedStoreError: the service refuses it.
        """
        request["params"] = {name: value for name, value in request.get("params", {}).items() if value is not None}
        for pause_s in (*(PAUSES_S if repeat else ()), None):
            try:
                return self.checked(self._http.request(method, path, **request))
            except (httpx2.InvalidURL, UnicodeError) as error:
                raise ConfigError(
                    f"{method} {path} cannot be asked with these arguments: {error}; a filter may have 20,000 letters"
                ) from error
            except httpx2.RequestError as error:
                if pause_s is None or isinstance(error, httpx2.TimeoutException):
                    raise self.lost(error) from error
            time.sleep(pause_s)
        raise AssertionError("the last attempt returns or raises")

    @contextlib.contextmanager
    def events(self, path: str, *, last: str | None, silence_s: float) -> Iterator[Iterator[httpx2.ServerSentEvent]]:
        """The server-sent events of a path, from the one after that with the id `last`.

        Raises:
            httpx2.TransportError: the connection is lost, or nothing comes for `silence_s`.
            EmbedStoreError: the service refuses it.
        """
        headers = {} if last is None else {"Last-Event-ID": last}
        timeout = httpx2.Timeout(**{**TIMEOUT.as_dict(), "read": silence_s})
        with self._http.sse(path, headers=headers, timeout=timeout) as source:
            self.checked(source.response)
            yield iter(source)

    def download(self, path: str, file: Path) -> None:
        """Write the body of an answer to a file, from its beginning again where the connection is lost.

        Raises:
            ServiceNotReachableError: nothing answers, or the connection is lost each time.
            EmbedStoreError: the service refuses it.
        """
        for pause_s in (*PAUSES_S, None):
            try:
                with self._http.stream("GET", path) as answer, file.open("wb") as out:
                    out.writelines(self.checked(answer).iter_bytes())
                return
            except httpx2.TransportError as error:
                if pause_s is None:
                    raise self.lost(error) from error
            time.sleep(pause_s)

    def checked(self, answer: httpx2.Response) -> httpx2.Response:
        """An answer that is a success; raises the error that any other one tells of."""
        if answer.is_success:
            return answer
        answer.read()
        try:
            told = answer.json()["error"]
            kind, message = str(told["type"]), str(told["message"])
        except (ValueError, KeyError, TypeError):
            raise ServiceNotReachableError(
                f"{self.url} answers with the status {answer.status_code} and not as a service of embedstore does; "
                "check the URL, and what stands between it and you"
            ) from None
        if kind == "HTTPError" and answer.status_code in (404, 405):
            message = (
                f"the service at {self.url} does not know {answer.request.method} {answer.request.url.path}; it may be "
                f"of another version than this embedstore {__version__}; install the same on both sides"
            )
        refused = _error_class(kind)(message)
        if isinstance(refused, NotAuthenticatedError):
            refused.add_note(f"In Python: embedstore.connect({self.url!r}, token='embedstore_…')")
        raise refused

    def lost(self, error: Exception) -> ServiceNotReachableError:
        """The error of a connection that failed."""
        if isinstance(error, httpx2.TimeoutException):
            said = "does not answer in time"
        elif isinstance(error, httpx2.ConnectError):
            said = f"cannot be reached ({error})"
        else:
            said = f"closed the connection ({error})"
        return ServiceNotReachableError(
            f"the service at {self.url} {said}; check that `embedstore serve` runs there, the URL and the network"
        )


def path(*parts: str | int) -> str:
    """A path below /api; each part is quoted, whatever it holds."""
    return "/".join(["/api", *(quote(str(part), safe="", errors="replace") for part in parts)])


def noted_table(connection: Connection, path: str, body: Mapping[str, Any]) -> NotedTable:
    """The table with notes that answers JSON which changes nothing; what is None is not sent."""
    rows, facts = connection.post_for_table(path, {name: value for name, value in body.items() if value is not None})
    return NotedTable(rows, title=facts["title"], notes=tuple(json.loads(facts["notes"])))


def _error_class(kind: str) -> type[EmbedStoreError]:
    return ConfigError if kind == "ValidationError" else ERRORS.get(kind, EmbedStoreError)


def _json_body(body: Any) -> dict[str, Any]:
    """A body of JSON, and the header that says so.

    Raises:
        ConfigError: it holds what JSON has not.
    """
    try:
        content = json.dumps(body, allow_nan=False, default=_plain_value).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigError(f"the arguments cannot be sent as JSON: {error}; expected numbers, text and lists") from error
    return {"content": content, "headers": {"Content-Type": "application/json"}}


def _plain_value(value: Any) -> Any:
    """A number or an array of NumPy as JSON has it."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{value!r} is a {type(value).__name__}")


def _json(answer: httpx2.Response) -> Any:
    if answer.status_code == 204 or not answer.content:
        return None
    try:
        return answer.json()
    except ValueError as error:
        kind = answer.headers.get("content-type", "nothing")
        raise ServiceNotReachableError(
            f"{answer.request.url} answers with {kind}, not JSON; check that the URL is that of `embedstore serve`"
        ) from error


def _table(answer: httpx2.Response) -> tuple[pa.Table, dict[str, str]]:
    try:
        table = pa.ipc.open_stream(answer.content).read_all()
    except pa.ArrowInvalid as error:
        raise ServiceNotReachableError(
            f"{answer.request.url} answers with no table, or a part of one; check that the URL is that of "
            "`embedstore serve`, and try again"
        ) from error
    facts = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
    return table.replace_schema_metadata(None), facts


def _checked_url(url: str) -> str:
    url = str(url).strip()
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        usable = False
    if not usable or parts.query or parts.fragment:
        raise ConfigError(
            f"{url!r} is not the URL of a service; expected one such as http://127.0.0.1:8765; a store in a folder is "
            "opened with embedstore.open"
        )
    if parts.username is not None or parts.password is not None:
        raise ConfigError("the URL of a service holds a name or a password; give a token with token=")
    return url.rstrip("/").removesuffix("/api").rstrip("/")


def _checked_token(token: str) -> str:
    token = token.strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise ConfigError(
            "the token is empty, or holds what none has; expected embedstore_… as `token create` shows it"
        )
    return token
