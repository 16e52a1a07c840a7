"""Who may ask a service, as what, and from where."""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from embedstore.config import Settings, require

#: What a caller may do; each may what those before it may.
Role = Literal["read", "label", "fit", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)
#: In a list of proxies: whoever connects by a Unix socket, which the file system guards.
UNIX = "unix"


@dataclass(frozen=True, kw_only=True)
class AccessConfig(Settings):
    """Who may ask a service, as what, and from where.

    Attributes:
        insecure: Answer whoever comes without a token, as an administrator; also beyond the loopback.
        trust_header: Header in which a proxy that logs people in gives their names, such as X-Remote-User.
        trusted_proxy: Addresses or networks of proxies whose header counts, such as 10.0.0.5 or 10.1.0.0/16; `unix` for
            a Unix socket.
        trust_role: Role of the people that the header names.
        trust_roles: Roles of some of them, by name; only in a settings file.
        allow_host: Further names under which the service is asked for, such as slides.hospital.example.
        allow_origin: Origins of web pages of others that may ask it, such as https://viewer.example.
        pseudonyms: Show slides and patients under pseudonyms, and no other text about them.
        pseudonym_key: File whose content is the key of the pseudonyms, so that a patient has the same one in two
            stores; a key that the store keeps when None.
        show_columns: With pseudonyms: columns of your slide lists that are shown all the same.
        access_log: Record who looks at which slide; changes are always recorded.
    """

    insecure: bool = False
    trust_header: str | None = None
    trusted_proxy: tuple[str, ...] = ()
    trust_role: Role = "read"
    trust_roles: Mapping[str, str] = field(default_factory=dict)
    allow_host: tuple[str, ...] = ()
    allow_origin: tuple[str, ...] = ()
    pseudonyms: bool = False
    pseudonym_key: Path | None = None
    show_columns: tuple[str, ...] = ()
    access_log: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        header = self.trust_header
        require(
            header is None or (header.isascii() and header.replace("-", "").isalnum()),
            f"trust_header is {header!r}; expected the name of a header, such as X-Remote-User",
        )
        require(
            header is None or header.lower() not in _TAKEN,
            f"trust_header is {header!r}, which has a meaning of its own; expected one such as X-Remote-User",
        )
        for address in self.trusted_proxy:
            require(
                address == UNIX or _is_network(address),
                f"trusted_proxy is {address!r}; expected an address, a network such as 10.1.0.0/16, or {UNIX}",
            )
        require(
            header is None or bool(self.trusted_proxy),
            f"trust_header is {header!r} and there is no trusted_proxy; anyone could send the header; name the proxy's "
            "address with --trusted-proxy",
        )
        for name, role in self.trust_roles.items():
            require(role in ROLES, f"trust_roles gives {name!r} the role {role!r}; expected one of {', '.join(ROLES)}")
        for origin in self.allow_origin:
            scheme, _, host = origin.partition("://")
            require(
                scheme in ("http", "https") and bool(host) and not set(host) & set("/?#@* "),
                f"allow_origin is {origin!r}; expected a scheme and a host, such as https://viewer.example:8443",
            )
        for host in self.allow_host:
            require(
                bool(host) and not set(host) & set("/?#@* "),
                f"allow_host is {host!r}; expected a host name without scheme and path, such as slides.example",
            )


_TAKEN = frozenset(
    ("authorization", "cookie", "host", "origin", "accept", "content-type", "content-length", "forwarded",
     "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "user-agent", "referer", "connection")
)  # fmt: skip


def _is_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Whether a host to listen on, or the file of a Unix socket, is reached from this machine only."""
    try:
        return host == "localhost" or host.startswith("/") or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
