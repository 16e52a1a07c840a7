"""Secrets of a store, each under a name, made when they are first needed."""

import secrets

from embedstore.store.schema import SECRETS
from embedstore.store.sql import sql_string
from embedstore.store.table import Caches, Table, now

BYTES = 32


class Secrets:
    """The table `secrets` of a store. Whoever can read the store's files can read it."""

    def __init__(self, store_uri: str, caches: Caches | None = None):
        self._table = Table(store_uri, "secrets", caches)

    def get(self, name: str) -> bytes:
        """The secret of a name, 256 random bits; made where there is none."""
        where = f"name = {sql_string(name)}"
        self._table.create(SECRETS)
        if not self._table.rows(where=where):
            made = {"name": name, "value": secrets.token_bytes(BYTES), "created_at": now()}
            self._table.revise("name", lambda table: [] if table.rows(where=where) else [made])
        value: bytes = self._table.rows(where=where)[0]["value"]
        return value

    def tidy(self, *, keep_s: float) -> None:
        if self._table.exists():
            self._table.tidy(keep_s=keep_s, purge=True)
