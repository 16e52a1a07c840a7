"""What a request must be like before a route sees it, and what headers every answer has."""

import socket
from typing import Any

from fastapi import Request
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from embedstore.access_config import AccessConfig
from embedstore.errors import EmbedStoreError, NotAllowedError, NotAuthenticatedError, TooManyAttemptsError
from embedstore.service.failures import failure_of
from embedstore.service.security.addresses import parse_address
from embedstore.service.security.caller import Caller
from embedstore.service.security.headers import SECURITY_HEADERS

#: Methods that change nothing.
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
#: The OpenAPI document, which tells no more than the handbook.
DOCUMENT = "/api/openapi.json"
#: What anybody may ask under any name, such as a load balancer that gives none.
OPEN = frozenset({"/health", "/ready", DOCUMENT})
#: What a form of a web page can send anywhere without asking.
OF_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data", "text/plain")


class Gate:
    """Middleware: refuses what a web page of others makes a browser send, and asks who sends before a body is read.

    A token is proof enough, as no page of others has it. Whoever is known without one, because a proxy names them or
    because they are on this machine, is known to every page that their browser shows. So without a token

    * the host that is asked for must be an address, this machine's name, or one of `allow_host`: the name of a page
      that was made to point to this machine (DNS rebinding) is none;
    * a browser must say that the request is of a page of ours, or of one of `allow_origin`;
    * a change must have a content type that no form can send.
    """

    def __init__(self, app: ASGIApp, service: Any):
        self._app, self._service = app, service
        self._rules = _Origins(service.config.access, service.config.host)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        try:
            path = scope["path"]
            if path not in OPEN and not request.headers.get("authorization", "").lower().startswith("bearer "):
                self._rules.check(request.method, request.headers)
            if path.startswith("/api") and path not in OPEN:  # before a body is read; the route checks the role
                await self._service.authenticator.caller_of(request)
        except EmbedStoreError as error:
            if isinstance(error, NotAuthenticatedError | TooManyAttemptsError) and "authorization" in request.headers:
                stranger = Caller(name="unknown", role="read", address=self._service.authenticator.address_of(request))
                self._service.access_log.refused(stranger, "token")
            await failure_of(request, error)(scope, receive, _with_headers(send))
            return
        await self._app(scope, receive, _with_headers(send))


class _Origins:
    """The hosts and origins that are ours."""

    def __init__(self, config: AccessConfig, host: str):
        name = socket.gethostname().lower()
        self._added = {_without_port(each.lower()) for each in config.allow_host}
        self._hosts = {"localhost", host.lower(), name, name.partition(".")[0], *self._added}
        self._origins = {origin.lower() for origin in config.allow_origin}

    def check(self, method: str, headers: Headers) -> None:
        """Raise NotAllowedError where a page of others may have sent a request."""
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._is_ours(hosts[0]):
            raise NotAllowedError(
                f"this service is not known as {', '.join(hosts) or 'nothing'!r}; whoever runs it adds the name with "
                "--allow-host"
            )
        if not self._may_come_from(hosts[0].lower(), method, headers):
            raise NotAllowedError(
                "the request comes from a web page of another origin; whoever runs the service adds it with "
                "--allow-origin, or send a token"
            )
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if method not in SAFE and kind in OF_FORMS:
            raise NotAllowedError(
                f"the body is of type {kind}, as a form's; send the header 'Content-Type: application/json', or a token"
            )

    def _is_ours(self, host: str) -> bool:
        """Whether it is a name of this service, or an address: nobody can make an address point elsewhere."""
        name = _without_port(host.lower())
        return name in self._hosts or parse_address(name) is not None or name.endswith(".localhost")

    def _may_come_from(self, host: str, method: str, headers: Headers) -> bool:
        origin, site = headers.get("origin", "").lower(), headers.get("sec-fetch-site", "none").lower()
        if origin in self._origins:
            return True
        if site not in ("none", "same-origin"):
            is_link = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
            return method == "GET" and is_link
        if method in SAFE or not origin:
            return True
        asked = origin.partition("://")[2]
        return asked == host or _without_port(asked) in self._added  # of a proxy that asks under another name


def _without_port(host: str) -> str:
    if host.startswith("["):  # an IPv6 address
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if host.count(":") == 1 else host


def _with_headers(send: Send) -> Send:
    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in SECURITY_HEADERS.items():
                headers.setdefault(name, value)
            if "no-store" not in headers.setdefault("Cache-Control", "no-store"):
                headers.add_vary_header("Authorization")  # what one caller may keep is not another's
        await send(message)

    return sent
