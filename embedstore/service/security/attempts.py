"""How often an address may send a wrong token."""

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable

from embedstore.errors import TooManyAttemptsError
from embedstore.service.security.addresses import parse_address

#: Wrong tokens that an address may send within PERIOD_S.
MOST = 20
PERIOD_S = 60.0
#: Addresses that are remembered; those that failed longest ago are forgotten first.
REMEMBERED = 10_000


class Attempts:
    """Counts wrong tokens by address; those of an IPv6 network of 64 bits together, as one machine has them all."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._failures: OrderedDict[str, list[float]] = OrderedDict()

    def failed(self, address: str | None) -> None:
        """Count a failure.

        Raises:
            TooManyAttemptsError: there were too many.
        """
        key, now = _network(address), self._clock()
        times = [at for at in self._failures.pop(key, ()) if now - at < PERIOD_S]
        if len(times) >= MOST:
            self._failures[key] = times
            raise TooManyAttemptsError(
                f"{MOST} wrong tokens came from {address or 'this socket'} within {PERIOD_S:.0f} s; wait a minute, and "
                "check the token"
            )
        self._failures[key] = [*times, now]
        while len(self._failures) > REMEMBERED:
            self._failures.popitem(last=False)


def _network(address: str | None) -> str:
    parsed = None if address is None else parse_address(address)
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed or address)
