"""Who asks."""

from dataclasses import dataclass
from typing import Literal

from embedstore.access_config import ROLES, Role


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Whoever sent a request.

    Attributes:
        name: Of the token or person; the author of what they label, and the caller in the access log.
        role: What they may do.
        project: SQL over the columns of slides, which holds for every slide that they may see; all slides when None.
        by: How they are known: by a token, by the header of a proxy, or because they are on this machine.
        address: Where the request comes from; None for a Unix socket.
    """

    name: str
    role: Role
    project: str | None = None
    by: Literal["token", "header", "local"] = "local"
    address: str | None = None

    def may(self, role: Role) -> bool:
        """Whether the caller may do what a role may."""
        return ROLES.index(self.role) >= ROLES.index(role)
