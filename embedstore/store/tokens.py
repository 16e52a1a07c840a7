"""Tokens: secrets by which a service knows who asks it. The store keeps a digest of each, and never the secret."""

import datetime as dt
import hashlib
import hmac
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from embedstore.access_config import Role
from embedstore.errors import TokenExistsError, TokenNotFoundError
from embedstore.store.schema import TOKENS
from embedstore.store.sql import sql_string
from embedstore.store.table import Caches, Table, now

#: Scanners of secrets know a leaked token by it: embedstore_[0-9a-f]{64}.
PREFIX = "embedstore_"
SECRET_BYTES = 32


@dataclass(frozen=True, kw_only=True)
class Token:
    """What the store keeps of a token.

    Attributes:
        name: Whose it is; the caller's name in labels and in the access log.
        role: What the caller may do.
        project: SQL over the columns of slides; only slides that it holds for are shown.
        digest: SHA-256 of the token, hexadecimal. The token is 256 random bits, so there is nothing to guess: a slow
            hash or a salt, as passwords need, would add nothing.
        created_at, expires_at, used_at, revoked_at: None where it never expires, was not used, or is not revoked.
    """

    name: str
    role: Role
    project: str | None = None
    digest: str
    created_at: dt.datetime | None = None
    expires_at: dt.datetime | None = None
    used_at: dt.datetime | None = None
    revoked_at: dt.datetime | None = None

    @property
    def state(self) -> str:
        """`valid`, `expired` or `revoked`."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= now() else "valid"


def token_digest(token: str) -> str:
    """What is stored of a token."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def matching(token: str, tokens: Iterable[Token]) -> Token | None:
    """The one of some tokens that a text is; as many comparisons are made whether it is one or not."""
    digest, found = token_digest(token), None
    for each in tokens:
        if hmac.compare_digest(digest, each.digest):
            found = each
    return found


class Tokens:
    """The table `tokens` of a store."""

    def __init__(self, store_uri: str, caches: Caches | None = None):
        self._uri = store_uri
        self._table = Table(store_uri, "tokens", caches)

    def create(
        self, name: str, *, role: Role = "read", project: str | None = None, expires_at: dt.datetime | None = None
    ) -> str:
        """Make a token and return it; it cannot be read again.

        Raises:
            TokenExistsError: the name has a token that is neither revoked nor expired.
        """
        token = PREFIX + secrets.token_hex(SECRET_BYTES)
        made = Token(
            name=name, role=role, project=project, digest=token_digest(token), created_at=now(), expires_at=expires_at
        )

        def rows_of(table: Table) -> list[dict[str, Any]]:
            for row in table.rows(where=f"name = {sql_string(name)}"):
                if Token(**row).state == "valid":
                    raise TokenExistsError(
                        f"{self._uri} has a token of the name {name!r} already; take another --name, or revoke that "
                        f"one first with `embedstore token revoke {name}`"
                    )
            return [{column: getattr(made, column) for column in TOKENS.names}]

        self._table.create(TOKENS)
        self._table.revise("name", rows_of)
        return token

    def all(self) -> list[Token]:
        """Every token that was ever made, by name."""
        return sorted((Token(**row) for row in self._table.rows()), key=lambda token: token.name)

    def revoke(self, name: str) -> None:
        """End a token.

        Raises:
            TokenNotFoundError: none of the name is valid.
        """
        self._change(name, revoked_at=now())

    def record_use(self, used: Mapping[str, dt.datetime]) -> None:
        """Write when tokens were last used: {name: time}."""
        if not used:
            return

        def rows_of(table: Table) -> list[dict[str, Any]]:
            return [row | {"used_at": used[row["name"]]} for row in table.rows() if row["name"] in used]

        self._table.revise("name", rows_of)

    def _change(self, name: str, **values: Any) -> None:
        def rows_of(table: Table) -> list[dict[str, Any]]:
            rows = table.rows(where=f"name = {sql_string(name)}")
            if not rows or Token(**rows[0]).state == "revoked":
                raise self._no_token(name)
            return [rows[0] | values]

        if not self._table.exists():
            raise self._no_token(name)
        self._table.revise("name", rows_of)

    def _no_token(self, name: str) -> TokenNotFoundError:
        valid = [token.name for token in self.all() if token.state == "valid"]
        return TokenNotFoundError(
            f"no token {name!r} in {self._uri}; it has {', '.join(valid) or 'none'}; `embedstore token ls` lists them"
        )

    def version(self) -> int:
        """A number that changes with the table; 0 where there is none."""
        return self._table.open().version if self._table.exists() else 0

    def tidy(self, *, keep_s: float) -> None:
        if self._table.exists():
            self._table.tidy(keep_s=keep_s, purge=True)
