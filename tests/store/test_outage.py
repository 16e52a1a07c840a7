"""Work goes on after an object store was away for a while, and ends where it stays away."""

import os
from types import SimpleNamespace

import pytest

from embedstore.errors import AccessError
from embedstore.store import outage
from embedstore.store.outage import limit_requests, passes, through_outages

_AWAY = "LanceError(IO): Error performing GET http://s/t: HTTP error: error sending request, /rust/lance.rs:1:1"


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Pauses, seconds, of a clock that moves by them alone."""
    taken: list[float] = []
    monkeypatch.setattr(outage, "time", SimpleNamespace(sleep=taken.append, monotonic=lambda: sum(taken)))
    return taken


def test_a_call_is_made_again_until_the_object_store_answers(pauses: list[float], caplog: pytest.LogCaptureFixture):
    left = [OSError(_AWAY), OSError(_AWAY), OSError("status code: 503 Service Unavailable")]

    @through_outages
    def call(what: str) -> str:
        if left:
            raise left.pop()
        return what

    assert call("done") == "done" and len(pauses) == 3 and sum(pauses) < 5
    assert [record.message[:33] for record in caplog.records if record.name == outage.__name__] == [
        "the object store does not answer,",
        "the object store serves again, af",
    ]


def test_an_object_store_that_stays_away_ends_the_call(pauses: list[float]):
    @through_outages
    def call() -> None:
        raise OSError(_AWAY)

    with pytest.raises(OSError, match="error sending request"):
        call()
    assert outage.OUTAGE_S <= sum(pauses) <= outage.OUTAGE_S + outage.LONGEST_PAUSE_S


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), OSError("status code: 403 Forbidden"), KeyError()]
)
def test_other_errors_are_no_outage(pauses: list[float], error: Exception):
    @through_outages
    def call() -> None:
        raise error

    with pytest.raises(type(error)):
        call()
    assert pauses == []


def test_an_outage_is_known_by_what_an_error_was_raised_from():
    try:
        raise AccessError("the store cannot be written") from OSError(_AWAY)
    except AccessError as error:
        assert passes(error)


def test_waits_are_bounded_unless_the_environment_says_how_long(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_READ_TIMEOUT", "60s")
    monkeypatch.delenv("AZURE_READ_TIMEOUT", raising=False)
    limit_requests()
    assert (os.environ["AWS_READ_TIMEOUT"], os.environ["AZURE_READ_TIMEOUT"]) == ("60s", "10s")
