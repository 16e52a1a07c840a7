"""An object store that does not answer: how long a request waits for it, and how long a run does."""

import functools
import logging
import os
import random
import re
import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
log = logging.getLogger(__name__)

#: Lance makes six rounds of a request, and pauses in between for about 5 s in all. In each it tries again within so
#: many seconds, and gives up what says nothing for so long: a store that hangs is an error after a minute, and not
#: after the twelve of Lance's own settings. Whoever sets one of them in the environment is obeyed.
RETRY_S, SILENT_S, CONNECT_S = 9, 10, 5
_LIMITS = {"OBJECT_STORE_CLIENT_RETRY_TIMEOUT": f"{RETRY_S}"} | {
    f"{service}_{name}": f"{seconds}s"
    for service in ("AWS", "AZURE", "GOOGLE")
    for name, seconds in (("READ_TIMEOUT", SILENT_S), ("CONNECT_TIMEOUT", CONNECT_S))
}
#: A run waits for an object store for so long, seconds, before it ends.
OUTAGE_S = 600.0
LONGEST_PAUSE_S = 10.0
_PASSES = re.compile(r"error sending request|HttpError \{|timed out|status code: (5\d\d|429)|status: (5\d\d|429)")


def limit_requests() -> None:
    """Bound how long Lance waits for an object store, in this process and in those that it starts."""
    for name, value in _LIMITS.items():
        os.environ.setdefault(name, value)


def passes(error: BaseException) -> bool:
    """Whether an error is an object store's that does not answer, or cannot serve for now."""
    chain: BaseException | None = error
    while chain is not None:
        if _PASSES.search(str(chain)):
            return True
        chain = chain.__cause__
    return False


def through_outages(function: Callable[P, T]) -> Callable[P, T]:
    """Decorate what may be called again after it failed in the middle: while the object store is away, it is."""

    @functools.wraps(function)
    def until_it_answers(*args: P.args, **kwargs: P.kwargs) -> T:
        began, pause_s = time.monotonic(), 0.5
        while True:
            try:
                result = function(*args, **kwargs)
            except Exception as error:
                if not passes(error) or time.monotonic() - began > OUTAGE_S:
                    raise
                if pause_s < 1:
                    log.warning(
                        "the object store does not answer, or cannot serve; waiting for it for up to %.0f min",
                        OUTAGE_S / 60,
                    )
            else:
                if pause_s >= 1:
                    log.warning("the object store serves again, after %.0f s", time.monotonic() - began)
                return result
            time.sleep(random.uniform(pause_s / 2, pause_s))
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    return until_it_answers
