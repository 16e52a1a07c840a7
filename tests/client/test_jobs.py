"""Jobs are followed to their end, whatever happens to the connection."""

import dataclasses
import json

import httpx2
import pytest

from embedstore.api.settings import fit_config
from embedstore.client import jobs
from embedstore.client.connection import Connection
from embedstore.client.jobs import plain_settings, run_job
from embedstore.errors import EmbedStoreError, JobEndedError, LabelError, ServiceNotReachableError
from embedstore.progress import Progress, no_progress
from heads.config import AugmentConfig, FitConfig, SplitConfig
from tests.client.served_by import URL

JOB = {"id": "a1", "kind": "fit", "state": "queued", "progress": None, "result": None, "error": None, "message": None}
HALF = {**JOB, "state": "running", "progress": {"stage": "fit", "message": "", "done": 1, "total": 2, "unit": "steps"}}
DONE = {**JOB, "state": "done", "result": {"heads": []}}


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "FIRST_PAUSE_S", 0.0)


class Broken(httpx2.SyncByteStream):
    """Events, and then a connection that is lost."""

    def __init__(self, sent: bytes, error: Exception):
        self._sent, self._error = sent, error

    def __iter__(self):
        yield self._sent
        raise self._error


def events(*states: dict, then: Exception | None = None) -> httpx2.Response:
    sent = "".join(f": ping\n\nevent: job\nid: {s['state']}\ndata: {json.dumps(s)}\n\n" for s in states).encode()
    headers = {"Content-Type": "text/event-stream"}
    if then is None:
        return httpx2.Response(200, headers=headers, content=sent)
    return httpx2.Response(200, headers=headers, stream=Broken(sent, then))


def served_by(*answers: httpx2.Response | Exception) -> tuple[Connection, list[httpx2.Request]]:
    left, requests = iter(answers), []

    def answer(request: httpx2.Request) -> httpx2.Response:
        requests.append(request)
        given = next(left)
        if isinstance(given, Exception):
            raise given
        return given

    return Connection(URL, transport=httpx2.MockTransport(answer)), requests


def test_progress_is_told_and_the_result_returned():
    told: list[Progress] = []
    connection, requests = served_by(events(JOB, HALF, DONE))
    assert run_job(connection, JOB, told.append) == {"heads": []}
    assert told == [Progress(stage="fit", done=1, total=2, unit="steps")]
    assert requests[0].url.path == "/api/jobs/a1/events"


@pytest.mark.parametrize(
    "lost", [httpx2.ReadError("reset"), httpx2.RemoteProtocolError("closed"), httpx2.ReadTimeout("silent")]
)
def test_a_connection_that_is_lost_is_taken_up_after_the_last_state(lost: Exception):
    refused = httpx2.ConnectError("refused")
    connection, requests = served_by(events(JOB, HALF, then=lost), refused, events(HALF), events(DONE))
    assert run_job(connection, JOB, no_progress) == {"heads": []}
    assert [request.headers.get("last-event-id") for request in requests] == [None, "running", "running", "running"]


def test_a_service_that_does_not_come_back(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(jobs, "PATIENCE_S", -1.0)
    connection, _ = served_by(httpx2.ConnectError("refused"))
    with pytest.raises(ServiceNotReachableError, match=r"job a1 may still run there: GET /api/jobs/a1"):
        run_job(connection, JOB, no_progress)


@pytest.mark.parametrize(
    ("state", "kind", "words"),
    [
        ({"state": "failed", "error": {"type": "LabelError", "message": "only one class"}}, LabelError, "only one"),
        ({"state": "failed", "error": {"type": "New", "message": "no luck"}}, EmbedStoreError, "no luck"),
        ({"state": "cancelled", "message": "nothing was written"}, JobEndedError, "a1 was cancelled: nothing was"),
        ({"state": "interrupted", "message": "the server ended"}, JobEndedError, "a1 was interrupted: the server"),
    ],
)
def test_a_job_that_does_not_end_well_raises_why(state: dict, kind: type, words: str):
    connection, _ = served_by(events({**JOB, **state}))
    with pytest.raises(EmbedStoreError, match=words) as raised:
        run_job(connection, JOB, no_progress)
    assert type(raised.value) is kind


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ZeroDivisionError()])
def test_whoever_stops_following_cancels_the_job(error: BaseException):
    def stop(progress: Progress) -> None:
        raise error

    connection, requests = served_by(events(HALF), httpx2.Response(200, json={}))
    with pytest.raises(type(error)):
        run_job(connection, JOB, stop)
    assert (requests[1].method, requests[1].url.path) == ("POST", "/api/jobs/a1/cancel")


@pytest.mark.parametrize(
    "config",
    [
        FitConfig(),
        FitConfig(split=SplitConfig(folds=3), augment=(AugmentConfig(noise=0.3), "search"), optimizer="adamw"),
        FitConfig(model="mean", level="slide", positive="high", bootstrap=0),
    ],
)
def test_settings_are_sent_so_that_the_same_configuration_is_made_of_them(config: FitConfig):
    sent = json.loads(json.dumps(plain_settings(config, {})))
    assert fit_config(None, sent) == config
    assert fit_config(None, plain_settings(config, {"seed": 7})) == dataclasses.replace(config, seed=7)
    assert "file" not in sent.get("split", {})


def test_settings_may_be_fields_alone():
    assert plain_settings(None, {}) == {} and plain_settings({"model": "mlp"}, {"steps": 3}) == {
        "model": "mlp",
        "steps": 3,
    }
