"""Where a request comes from: the peer of its connection, and behind a trusted proxy what the proxy says."""

import ipaddress
from collections.abc import Sequence

from fastapi import Request

from embedstore.access_config import UNIX

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


class Proxies:
    """The proxies whose headers count.

    Args:
        listed: Addresses, networks, or `unix`.
    """

    def __init__(self, listed: Sequence[str]):
        self._unix = UNIX in listed
        self._networks = [ipaddress.ip_network(each) for each in listed if each != UNIX]

    def trusts(self, request: Request) -> bool:
        """Whether the connection of a request is one of these proxies'."""
        if request.client is None:
            return self._unix
        peer = parse_address(request.client.host)
        return peer is not None and self._has(peer)

    def address_of(self, request: Request) -> str | None:
        """The address that a request comes from; None for a Unix socket.

        Of X-Forwarded-For only the last address counts that is not a proxy's: whoever asks may write what stands before
        it.
        """
        peer = None if request.client is None else request.client.host
        if not self.trusts(request):
            return peer
        listed = ",".join(request.headers.getlist("x-forwarded-for")).split(",")
        for text in reversed(listed):
            address = parse_address(text.strip())
            if address is None:
                break
            if not self._has(address):
                return str(address)
        return peer

    def _has(self, address: IPAddress) -> bool:
        return any(address in network for network in self._networks if network.version == address.version)


def parse_address(text: str) -> IPAddress | None:
    """An IP address, with or without a port, an IPv4 address inside IPv6 as IPv4; None for another text."""
    host = text[1:].partition("]")[0] if text.startswith("[") else text
    host = host.partition(":")[0] if host.count(":") == 1 else host
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped or address
