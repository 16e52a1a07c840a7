"""Tokens of a store: who may ask a service of it, and as what."""

import datetime as dt
import re

import pyarrow as pa

from embedstore.access_config import ROLES, Role
from embedstore.access_errors import tells_access_errors
from embedstore.arguments import checks_arguments
from embedstore.errors import ConfigError
from embedstore.result_table import Table
from embedstore.store import Store as StoreTables
from embedstore.store import Token

_NAME = re.compile(r"\w[\w .@+-]{0,99}")
SHOWN = ("name", "role", "project", "state", "created_at", "expires_at", "used_at")


@tells_access_errors
@checks_arguments
class Tokens:
    """The tokens of a store. A token lets whoever has it ask a service of the store, in a role."""

    def __init__(self, tables: StoreTables):
        self._tables = tables

    def create(
        self,
        name: str,
        *,
        role: Role = "read",
        project: str | None = None,
        expires_in: dt.timedelta | None = None,
    ) -> str:
        """Make a token. The store keeps only a digest of it, so that it cannot be read again.

        Args:
            name: Whose it is; the name that labels and the access log will bear.
            role: read; label (also labels); fit (also fits heads, predicts, exports); admin (also removes).
            project: SQL over the columns of slides, such as "cohort = 'A'"; only slides that it holds for can be seen.
            expires_in: How long it holds; for ever when None.
        Raises:
            TokenExistsError: the name has a token that still holds.
            ConfigError: the name, the role or the project cannot be used.
        """
        if not _NAME.fullmatch(name):
            raise ConfigError(
                f"token name {name!r} cannot be used; expected up to 100 letters, digits, spaces and . _ @ + -, "
                "beginning with a letter or digit; pass another with --name"
            )
        if role not in ROLES:
            raise ConfigError(f"role {role!r} does not exist; expected one of {', '.join(ROLES)}")
        if project is not None:
            from embedstore.search.filters import project_slides

            project_slides(self._tables, project)
        if expires_in is not None and expires_in <= dt.timedelta(0):
            raise ConfigError(f"a token that expires in {expires_in} never holds; expected a time in the future")
        try:
            expires_at = None if expires_in is None else dt.datetime.now(dt.UTC) + expires_in
        except OverflowError:
            raise ConfigError(f"a token that expires in {expires_in} is beyond the calendar; leave it out") from None
        return self._tables.tokens.create(name, role=role, project=project, expires_at=expires_at)

    def all(self) -> list[Token]:
        """Every token that was ever made, by name; those that were revoked as well."""
        return self._tables.tokens.all()

    @property
    def table(self) -> Table:
        """A row a token: name, role, project, state (valid, expired, revoked), and when it was made and last used."""
        times = pa.timestamp("us", tz="UTC")
        schema = pa.schema([(name, times if name.endswith("_at") else pa.string()) for name in SHOWN])
        rows = [{name: getattr(token, name) for name in SHOWN} for token in self.all()]
        return Table(pa.Table.from_pylist(rows, schema=schema), title="tokens")

    def revoke(self, name: str) -> None:
        """End a token; a running service refuses it within two seconds.

        Raises:
            TokenNotFoundError: there is none of that name that is not revoked.
        """
        self._tables.tokens.revoke(name)

    def version(self) -> int:
        """A number that changes with the tokens; 0 where there never was one."""
        return self._tables.tokens.version()

    def record_use(self, used: dict[str, dt.datetime]) -> None:
        """Write when tokens were last used: {name: time}."""
        self._tables.tokens.record_use(used)

    def __repr__(self) -> str:
        return repr(self.table)

    def _repr_html_(self) -> str:
        return self.table._repr_html_()
