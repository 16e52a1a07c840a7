"""Who asks."""

from dataclasses import dataclass
from typing import Literal

#: What a caller may do; each may do what those before it may.
Role = Literal["read", "label", "fit", "admin"]


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Who asks, and what they may do.

    Attributes:
        name: Of the token, or of the user whom a proxy has logged in.
        role: What they may do.
        project: SQL over the columns of slides: they see only slides that it holds for; None for all.
    """

    name: str
    role: Role
    project: str | None = None
