"""One service for all tests of this folder: the start of its worker takes seconds."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from embedstore.service import create_app
from embedstore.service.jobs import Fit, JobKind, JobManager, Predict
from embedstore.service_config import ServiceConfig
from embedstore.store import Job, Store
from tests.heads.scene import make_store
from tests.service.jobs.waiting import until

#: Of a fit that takes no time.
QUICK = {"bootstrap": 0, "split": {"folds": 3}}
#: Of a fit that never ends by itself, however quick the machine.
ENDLESS = {"model": "mlp", "steps": 10**8, "patience": 10**8, "split": {"folds": 3}}


@dataclass(frozen=True)
class Jobs:
    """A manager, its store, a client of its service, and its folder of exports."""

    manager: JobManager
    store: Store
    client: TestClient
    spool: Path

    def finished(self, kind: JobKind, *, caller: str = "ann") -> Job:
        """A job that was run to its end."""
        job = self.manager.submit(kind, caller=caller)
        until(lambda: self.manager.get(job.id).is_finished)
        return self.manager.get(job.id)


@pytest.fixture(scope="session")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jobs]:
    folder = tmp_path_factory.mktemp("jobs")
    store = make_store(folder)
    app = create_app(store.uri, ServiceConfig(spool=str(folder / "spool")))
    with TestClient(app, base_url="http://localhost") as client:
        manager = app.state.service.jobs
        manager.prepare()
        yield Jobs(manager, store, client, folder / "spool")


@pytest.fixture(scope="session")
def fitted(jobs: Jobs) -> Job:
    """The fit of the head 'cells'."""
    return jobs.finished(Fit(tasks=("tissue",), names=("cells",), settings=QUICK))


@pytest.fixture(scope="session")
def predicted(jobs: Jobs, fitted: Job) -> Job:
    """Its predictions of all slides."""
    return jobs.finished(Predict(head="cells"))
