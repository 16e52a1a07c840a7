"""Who asks: by token, by a proxy's header, from this machine; and who is refused."""

import asyncio
import getpass
from typing import Any

import pytest
from fastapi import Request

import embedstore
from embedstore import errors
from embedstore.access_config import AccessConfig
from embedstore.service.security import Authenticator, Caller
from embedstore.service.security import authenticator as module
from embedstore.service.security.attempts import MOST, Attempts

PROXY, OTHER = "10.0.0.5", "10.0.0.6"
BEHIND_PROXY: dict[str, Any] = {"trust_header": "X-Remote-User", "trusted_proxy": (PROXY, "fd00::/8", "unix")}


@pytest.fixture
def store(tmp_path) -> embedstore.Store:
    return embedstore.create(tmp_path / "store")


def request(peer: str | None = "127.0.0.1", /, *headers: tuple[str, str]) -> Request:
    raw = [(name.lower().encode(), value.encode("latin-1" if value.isascii() else "utf-8")) for name, value in headers]
    return Request({"type": "http", "headers": raw, "client": None if peer is None else (peer, 1), "state": {}})


def asked(authenticator: Authenticator, peer: str | None = "127.0.0.1", /, *headers: tuple[str, str]) -> Caller:
    return asyncio.run(authenticator.caller_of(request(peer, *headers)))


def bearer(token: str) -> tuple[str, str]:
    return "Authorization", f"Bearer {token}"


def test_this_machine_is_the_administrator_until_there_is_a_token(store, monkeypatch):
    monkeypatch.setattr(module, "TOKENS_AGE_S", 0.0)
    authenticator = Authenticator(store, AccessConfig())
    assert authenticator.is_open
    caller = asked(authenticator)
    assert (caller.name, caller.role, caller.by) == (getpass.getuser(), "admin", "local")
    token = store.tokens.create("ada", role="label", project="patient = 'P1'")
    with pytest.raises(errors.NotAuthenticatedError, match="needs a token"):
        asked(authenticator)
    caller = asked(authenticator, "127.0.0.1", bearer(token))
    assert (caller.name, caller.role, caller.project, caller.by) == ("ada", "label", "patient = 'P1'", "token")
    authenticator.record_use()
    assert store.tokens.all()[0].used_at is not None
    store.tokens.revoke("ada")
    with pytest.raises(errors.NotAuthenticatedError, match="is revoked"):
        asked(authenticator, "127.0.0.1", bearer(token))
    with pytest.raises(errors.NotAuthenticatedError, match="needs a token"):  # not open again
        asked(authenticator)


def test_tokens_are_read_once_a_second(store, monkeypatch):
    token = store.tokens.create("ada")
    authenticator = Authenticator(store, AccessConfig())
    store.tokens.revoke("ada")
    monkeypatch.setattr(module, "TOKENS_AGE_S", 1e9)
    assert asked(authenticator, "127.0.0.1", bearer(token)).name == "ada"
    monkeypatch.setattr(module, "TOKENS_AGE_S", 0.0)
    with pytest.raises(errors.NotAuthenticatedError, match="is revoked"):
        asked(authenticator, "127.0.0.1", bearer(token))


def test_a_token_that_was_made_just_now_is_looked_for(store, monkeypatch):
    authenticator = Authenticator(store, AccessConfig())
    token = store.tokens.create("ada")
    monkeypatch.setattr(module, "TOKENS_AGE_S", 1e9)
    monkeypatch.setattr(module, "UNKNOWN_AGE_S", 1e9)  # unknown ones are not looked for each time either
    with pytest.raises(errors.NotAuthenticatedError, match="is unknown"):
        asked(authenticator, "127.0.0.1", bearer(token))
    monkeypatch.setattr(module, "UNKNOWN_AGE_S", 0.0)
    assert asked(authenticator, "127.0.0.1", bearer(token)).name == "ada"


@pytest.mark.parametrize("headers", [[("X-Forwarded-For", "1.2.3.4")], [("Forwarded", "for=1.2.3.4")]])
def test_what_a_proxy_sends_on_is_not_this_machine(store, headers):
    with pytest.raises(errors.NotAuthenticatedError, match="came through a proxy"):
        asked(Authenticator(store, AccessConfig()), "127.0.0.1", *headers)


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ([bearer("embedstore_" + "0" * 64)], "unknown"),
        ([bearer("")], "unknown"),
        ([bearer("\xff\xfe")], "unknown"),
        ([("Authorization", "Basic YTpi")], "scheme 'Basic'"),
        ([("Authorization", "embedstore_0123")], "Authorization is one word; expected `Bearer` before the token"),
        ([bearer("a"), bearer("b")], "several"),
    ],
)
def test_wrong_token_is_refused_also_where_none_is_needed(store, headers, message):
    with pytest.raises(errors.NotAuthenticatedError, match=message):
        asked(Authenticator(store, AccessConfig(insecure=True)), "127.0.0.1", *headers)


def test_beyond_this_machine_something_must_say_who_may_ask(store):
    for host in ("0.0.0.0", "::", "192.168.1.4", "lab.example"):
        with pytest.raises(errors.ConfigError, match="--insecure"):
            Authenticator(store, AccessConfig(), host=host)
    for host in ("127.0.0.1", "::1", "localhost", "127.8.8.8", "/run/embedstore.sock"):
        assert Authenticator(store, AccessConfig(), host=host).is_open
    assert asked(Authenticator(store, AccessConfig(insecure=True), host="0.0.0.0"), OTHER).name == "anyone"
    assert not Authenticator(store, AccessConfig(**BEHIND_PROXY), host="0.0.0.0").is_open
    store.tokens.create("ada")
    assert not Authenticator(store, AccessConfig(), host="0.0.0.0").is_open


@pytest.mark.parametrize("peer", [PROXY, f"::ffff:{PROXY}", "fd00::7", None])
def test_header_of_a_trusted_proxy_names_the_caller(store, peer):
    config = AccessConfig(**BEHIND_PROXY, trust_role="label", trust_roles={"Boss": "admin"})
    authenticator = Authenticator(store, config)
    caller = asked(authenticator, peer, ("X-Remote-User", "ada"), ("X-Forwarded-For", f"6.6.6.6, 9.9.9.9, {PROXY}"))
    assert (caller.name, caller.role, caller.by, caller.address) == ("ada", "label", "header", "9.9.9.9")
    assert asked(authenticator, peer, ("X-Remote-User", "Boss")).role == "admin"
    assert asked(authenticator, peer, ("X-Remote-User", "Zoë Müller")).name == "Zoë Müller"
    for forwarded, address in (("[2001:db8::1]:443", "2001:db8::1"), ("9.9.9.9:5", "9.9.9.9"), ("unknown", peer)):
        caller = asked(authenticator, peer, ("X-Remote-User", "ada"), ("X-Forwarded-For", f"1.1.1.1, {forwarded}"))
        assert caller.address == address
    with pytest.raises(errors.NotAuthenticatedError, match="needs a token"):
        asked(authenticator, peer)


@pytest.mark.parametrize(
    ("peer", "headers", "message"),
    [
        (OTHER, [("X-Remote-User", "ada")], "not among those"),
        ("127.0.0.1", [("X-Remote-User", "ada"), ("X-Forwarded-For", PROXY)], "not among those"),
        (PROXY, [("X-Remote-User", "ada"), ("X-Remote-User", "root")], "more than once"),
        (PROXY, [("X-Remote-User", "ada,root")], "more than once"),
        (PROXY, [("X-Remote-User", "  ")], "empty"),
        (PROXY, [("X-Remote-User", "a" * 201)], "too long"),
        (PROXY, [("X-Remote-User", "a\x1b[31m")], "not a name"),
    ],
)
def test_header_that_may_be_forged_is_refused(store, peer, headers, message):
    with pytest.raises(errors.NotAuthenticatedError, match=message):
        asked(Authenticator(store, AccessConfig(**BEHIND_PROXY)), peer, *headers)


def test_address_of_a_request_is_not_what_its_sender_says(store):
    authenticator = Authenticator(store, AccessConfig(insecure=True))
    assert asked(authenticator, OTHER, ("X-Forwarded-For", "1.2.3.4")).address == OTHER


def test_wrong_tokens_are_limited_by_address_and_right_ones_are_not(store):
    token = store.tokens.create("ada")
    authenticator = Authenticator(store, AccessConfig())
    for _ in range(MOST):
        with pytest.raises(errors.NotAuthenticatedError):
            asked(authenticator, OTHER, bearer("x"))
    with pytest.raises(errors.TooManyAttemptsError, match=r"wrong tokens came from 10\.0\.0\.6"):
        asked(authenticator, OTHER, bearer("x"))
    assert asked(authenticator, OTHER, bearer(token)).name == "ada"
    with pytest.raises(errors.NotAuthenticatedError):
        asked(authenticator, PROXY, bearer("x"))


def test_attempts_end_with_their_minute_and_count_by_network():
    clock = [0.0]
    attempts = Attempts(lambda: clock[0])
    for i in range(MOST):
        attempts.failed(f"2001:db8::{i + 1:x}")
    with pytest.raises(errors.TooManyAttemptsError):
        attempts.failed("2001:db8::ffff")
    attempts.failed("2001:db8:0:1::1")
    clock[0] = 61.0
    attempts.failed("2001:db8::1")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"trust_header": "X-Remote-User"}, "--trusted-proxy"),
        ({"trust_header": "Authorization", "trusted_proxy": (PROXY,)}, "meaning of its own"),
        ({"trust_header": "X User", "trusted_proxy": (PROXY,)}, "name of a header"),
        ({"trusted_proxy": ("10.0.0.1/8",)}, "a network such as"),
        ({"trusted_proxy": ("proxy.example",)}, "a network such as"),
        ({"trust_roles": {"ada": "boss"}}, "read, label, fit, admin"),
        ({"allow_origin": ("viewer.example",)}, "a scheme and a host"),
        ({"allow_origin": ("*",)}, "a scheme and a host"),
        ({"allow_host": ("https://a.example",)}, "without scheme"),
    ],
)
def test_settings_that_cannot_hold_are_refused(settings, message):
    with pytest.raises(errors.ConfigError, match=message):
        AccessConfig(**settings)
