"""Who asks the service, what they may do, and what is written down about it."""

from embedstore.access_config import ROLES, Role
from embedstore.service.security.authenticator import Authenticator
from embedstore.service.security.caller import Caller
from embedstore.service.security.rules import Rule, document_rules, needs, public, rule_of, rules

__all__ = ["ROLES", "Authenticator", "Caller", "Role", "Rule", "document_rules", "needs", "public", "rule_of", "rules"]
