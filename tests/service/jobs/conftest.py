"""One manager for all tests of this folder: the start of its worker takes seconds."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from embedstore.service.jobs import JobKind, JobManager
from embedstore.store import Job, Store
from tests.heads.scene import make_store
from tests.service.jobs.waiting import until


@dataclass(frozen=True)
class Jobs:
    """A manager, its store, and its folder of exports."""

    manager: JobManager
    store: Store
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
    manager = JobManager(store, spool=folder / "spool")
    manager.prepare()
    yield Jobs(manager, store, folder / "spool")
    manager.close()
