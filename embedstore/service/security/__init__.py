"""Who asks, and what they may do."""

from embedstore.service.security.caller import Caller, Role
from embedstore.service.security.rules import needs, public, rule_of

__all__ = ["Caller", "Role", "needs", "public", "rule_of"]
