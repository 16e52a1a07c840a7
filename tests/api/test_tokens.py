"""Tokens of a store: made once, checked by digest, ended."""

import datetime as dt

import pytest

import embedstore
from embedstore import errors
from embedstore.store import matching


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> embedstore.Store:
    return embedstore.create(tmp_path_factory.mktemp("tokens") / "store")


def test_token_is_found_by_its_digest_and_not_in_the_store(store: embedstore.Store):
    made = store.tokens.create("ada", role="fit", project="patient = 'P1'")
    assert made.startswith("embedstore_") and len(made) == 75
    (token,) = (each for each in store.tokens.all() if each.name == "ada")
    assert (token.role, token.project, token.state) == ("fit", "patient = 'P1'", "valid")
    assert made.removeprefix("embedstore_") not in repr(token)
    assert matching(made, store.tokens.all()) == token
    assert matching(made.upper(), store.tokens.all()) is None


def test_tokens_and_the_access_log_show_themselves(store: embedstore.Store):
    store.tokens.create("shown")
    assert repr(store.tokens) == repr(store.tokens.table) and "shown" in store.tokens._repr_html_()
    assert repr(store.access_log) == f"<AccessLog of {store.uri!r}: `table(since=…)` has its rows>"


def test_name_is_taken_until_its_token_is_revoked(store: embedstore.Store):
    store.tokens.create("bob")
    with pytest.raises(errors.TokenExistsError, match="revoke bob"):
        store.tokens.create("bob")
    version = store.tokens.version()
    store.tokens.revoke("bob")
    assert store.tokens.version() > version
    with pytest.raises(errors.TokenNotFoundError, match="'bob'"):
        store.tokens.revoke("bob")
    store.tokens.create("bob", role="label")
    assert [row["state"] for row in store.tokens.table if row["name"] == "bob"] == ["valid"]


def test_token_expires(store: embedstore.Store):
    store.tokens.create("eve", expires_in=dt.timedelta(microseconds=1))
    assert {row["name"]: row["state"] for row in store.tokens.table}["eve"] == "expired"


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"name": "a/b"}, "cannot be used"),
        ({"name": "x", "role": "boss"}, "read, label, fit, admin"),
        ({"name": "x", "project": "cohort = 'A'"}, "no column 'cohort'"),
        ({"name": "x", "project": "tile_id = 1"}, "no column 'tile_id'"),
        ({"name": "x", "expires_in": dt.timedelta(0)}, "never holds"),
        ({"name": "x", "expires_in": dt.timedelta(days=9_999_999)}, "beyond the calendar"),
    ],
)
def test_what_cannot_be_a_token_is_refused(store: embedstore.Store, asked: dict, message: str):
    before = store.tokens.version()
    with pytest.raises(errors.ConfigError, match=message):
        store.tokens.create(**asked)
    assert store.tokens.version() == before


def test_use_is_recorded(store: embedstore.Store):
    store.tokens.create("kim")
    at = dt.datetime(2026, 1, 2, 3, tzinfo=dt.UTC)
    store.tokens.record_use({"kim": at, "nobody": at})
    assert {token.name: token.used_at for token in store.tokens.all()}["kim"] == at
