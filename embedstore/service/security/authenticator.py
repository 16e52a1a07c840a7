"""Finds out who sent a request: by its token, by a trusted proxy's header, or because it comes from this machine."""

import datetime as dt
import getpass
import logging
import time

import anyio
import anyio.to_thread
from fastapi import Request

from embedstore.access_config import AccessConfig, Role, is_loopback
from embedstore.api import Store
from embedstore.errors import ConfigError, NotAuthenticatedError
from embedstore.service.security.addresses import Proxies
from embedstore.service.security.attempts import Attempts
from embedstore.service.security.caller import Caller
from embedstore.store import Token, matching

log = logging.getLogger(__name__)

#: How old the tokens that are known may be, seconds: a revoked one is refused after that.
TOKENS_AGE_S = 1.0
#: The same where a token came that is not among them: it may have been made just now.
UNKNOWN_AGE_S = 0.1
#: The time of last use is written this often at most, seconds.
USED_EVERY_S = 3600.0
LONGEST_NAME = 200


class Authenticator:
    """Finds out who sent a request.

    A token always counts. Without one, the header of a trusted proxy does, where it is set up. Without either, whoever
    asks is the administrator where there never was a token and nobody but this machine can ask, or where the service is
    `insecure`.

    Args:
        store: Whose tokens count.
        config: Who may ask.
        host: Where the service listens.
    Raises:
        ConfigError: it listens beyond this machine, and nothing says who may ask.
    """

    def __init__(self, store: Store, config: AccessConfig, *, host: str = "127.0.0.1"):
        self._store, self._config = store, config
        self._loopback = is_loopback(host)
        self._proxies = Proxies(config.trusted_proxy)
        self._attempts = Attempts()
        self._limiter: anyio.CapacityLimiter | None = None
        self._tokens: list[Token] = []
        self._version, self._read_at = -1, -TOKENS_AGE_S
        self._used: dict[str, dt.datetime] = {}
        self._recorded_at = -USED_EVERY_S
        self._read_tokens()
        usable = any(token.state == "valid" for token in self._tokens)
        if not (self._loopback or usable or config.insecure or config.trust_header):
            raise ConfigError(
                f"host is {host!r}, which other machines can reach, and the store has no token that holds; make one "
                f"with `embedstore token create --store {store.uri} --name NAME`, or let a proxy log people in with "
                "--trust-header, or pass --insecure to let everyone do everything"
            )

    @property
    def is_open(self) -> bool:
        """Whether whoever comes without a token is the administrator."""
        config = self._config
        return config.insecure or (self._loopback and not self._tokens and config.trust_header is None)

    def who(self) -> str:
        """Who may ask, as a sentence for whoever starts the service."""
        header = self._config.trust_header
        if self._config.insecure:
            return f"insecure: {'whoever is on this machine' if self._loopback else 'EVERYBODY'} may do everything"
        if self.is_open:
            return "whoever is on this machine may do everything (`embedstore token create` ends that)"
        return "it asks for a token" + (f", or for {header} of a trusted proxy" if header else "")

    async def caller_of(self, request: Request) -> Caller:
        """Who sent a request; found out once for each.

        Raises:
            NotAuthenticatedError: it does not say, or what it says does not hold.
            TooManyAttemptsError: the address sent too many wrong tokens.
        """
        caller: Caller | None = getattr(request.state, "caller", None)
        if caller is None:
            age_s = time.monotonic() - self._read_at
            if age_s >= TOKENS_AGE_S or (age_s >= UNKNOWN_AGE_S and not self._knows(request)):
                self._limiter = self._limiter or anyio.CapacityLimiter(1)
                await anyio.to_thread.run_sync(self._read_tokens, limiter=self._limiter)
            caller = request.state.caller = self.authenticate(request)
        return caller

    def authenticate(self, request: Request) -> Caller:
        """Who sent a request, by the tokens that are known. Raises as `caller_of`."""
        address = self.address_of(request)
        given = request.headers.getlist("authorization")
        if len(given) > 1:
            raise NotAuthenticatedError("the request has several Authorization headers; expected one")
        scheme, _, text = given[0].partition(" ") if given else ("", "", "")
        if scheme.lower() == "bearer":
            return self._by_token(text.strip(), address)
        if self._config.trust_header is not None and request.headers.getlist(self._config.trust_header):
            return self._by_header(request, self._config.trust_header, address)
        if scheme and not text:  # a token alone, perhaps, which no message may repeat
            raise NotAuthenticatedError(
                "Authorization is one word; expected `Bearer` before the token: `Authorization: Bearer embedstore_…`"
            )
        if scheme:
            raise NotAuthenticatedError(f"Authorization is of the scheme {scheme!r}; expected `Bearer` and a token")
        if not self.is_open:
            raise NotAuthenticatedError(
                "this needs a token, and the request has none; send `Authorization: Bearer embedstore_…` "
                "(`embedstore token create` makes one)"
            )
        if self._loopback and not self._config.insecure and _came_by_proxy(request):
            raise NotAuthenticatedError(
                "this came through a proxy, and nothing says who sent it; whoever runs the service makes a token with "
                "`embedstore token create`, or lets the proxy name people with --trust-header"
            )
        name = getpass.getuser() if self._loopback else "anyone"
        return Caller(name=name, role="admin", address=address)

    def address_of(self, request: Request) -> str | None:
        """The address that a request comes from; None for a Unix socket."""
        return self._proxies.address_of(request)

    def record_use(self, *, now: bool = False) -> None:
        """Write when tokens were last used; once an hour, however often it is called, unless it is to be now."""
        if self._used and (now or time.monotonic() - self._recorded_at >= USED_EVERY_S):
            used, self._used = self._used, {}
            self._recorded_at = time.monotonic()
            self._store.tokens.record_use(used)

    def _knows(self, request: Request) -> bool:
        """Whether a request brings no token, or one that was read."""
        scheme, _, text = request.headers.get("authorization", "").partition(" ")
        return scheme.lower() != "bearer" or matching(text.strip(), self._tokens) is not None

    def _by_token(self, text: str, address: str | None) -> Caller:
        token = matching(text, self._tokens)
        if token is None or token.state != "valid":
            log.warning("refused a token from %s", address)
            self._attempts.failed(address)
            state = "unknown" if token is None else token.state
            raise NotAuthenticatedError(f"the token is {state}; `embedstore token create` makes another")
        self._used[token.name] = dt.datetime.now(dt.UTC)
        return Caller(name=token.name, role=token.role, project=token.project, by="token", address=address)

    def _by_header(self, request: Request, header: str, address: str | None) -> Caller:
        if not self._proxies.trusts(request):
            log.warning("refused %s from %s, which is no trusted proxy", header, address)
            raise NotAuthenticatedError(
                f"{header} came from {address or 'a Unix socket'}, which is not among those of --trusted-proxy; ask "
                "through the proxy, or with a token"
            )
        given = request.headers.getlist(header)
        name = _decoded(given[0]).strip()
        if len(given) > 1 or "," in name:  # a proxy may join headers that came twice
            raise NotAuthenticatedError(f"{header} came more than once; the proxy must replace what its client sends")
        if not name or len(name) > LONGEST_NAME or not name.isprintable():
            raise NotAuthenticatedError(f"{header} is empty, too long or not a name; the proxy must log people in")
        return Caller(name=name, role=self._role_of(name), by="header", address=address)

    def _role_of(self, name: str) -> Role:
        return self._config.trust_roles.get(name, self._config.trust_role)  # type: ignore[return-value]

    def _read_tokens(self) -> None:
        version = self._store.tokens.version()
        if version != self._version:
            self._tokens, self._version = self._store.tokens.all(), version
        self._read_at = time.monotonic()


def _decoded(value: str) -> str:
    """The value of a header, which Starlette takes for Latin-1; a name with an umlaut comes as UTF-8, as a rule."""
    try:
        return value.encode("latin-1").decode()
    except UnicodeError:
        return value


def _came_by_proxy(request: Request) -> bool:
    return any(name in request.headers for name in ("x-forwarded-for", "forwarded", "x-real-ip"))
