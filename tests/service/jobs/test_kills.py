"""A server that is killed while it fits, predicts and exports: the store is whole, and each job says what it left."""

import json
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from embedstore import api
from embedstore.service.jobs import Compact, JobManager
from embedstore.store import Store
from tests.heads.scene import make_store
from tests.service.jobs.conftest import ENDLESS, QUICK
from tests.service.jobs.waiting import ended, until

SERVER = """
import json, sys, time
from pathlib import Path
from embedstore.service.jobs import JobManager, job_kind
from embedstore.store import Store
uri, spool, asked = sys.argv[1:]
manager = JobManager(Store.open(uri), spool=Path(spool))
manager.start()
manager.prepare()
jobs = [manager.submit(job_kind(kind, params), caller="ann") for kind, params in json.loads(asked)]
while True:
    print(json.dumps([manager.get(job.id).state for job in jobs]), flush=True)
    time.sleep(0.02)
"""
TILES, SLIDES = 40, 12
ASKED = [
    ("fit", {"tasks": ["tissue"], "names": ["second"], "settings": QUICK}),
    ("predict", {"head": "cells", "where": "site <> 'A'"}),
    ("export", {"format": "parquet"}),
    ("fit", {"tasks": ["grade"], "names": ["short"], "settings": {**QUICK, "model": "mean"}}),
    # Outlives every server here, so that a kill always interrupts something.
    ("fit", {"tasks": ["tissue"], "names": ["long"], "settings": ENDLESS}),
]
AWAITED = ASKED[:-1]


@pytest.fixture(scope="module")
def fitted_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a store with the head 'cells'."""
    folder = tmp_path_factory.mktemp("kills")
    api.Store(make_store(folder, slides=SLIDES, tiles=TILES)).fit_head("tissue", name="cells", **QUICK)
    return folder / "store"


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_store_is_whole_after_a_kill(tmp_path: Path, fitted_folder: Path, seed: int):
    random_moment = random.Random(seed)
    store = Store.open(shutil.copytree(fitted_folder, tmp_path / "store"))
    spool = tmp_path / "spool"
    command = [sys.executable, "-c", SERVER, store.uri, str(spool), json.dumps(ASKED)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        for line in server.stdout:
            if json.loads(line)[seed % len(AWAITED)] != "queued":  # this job runs when the server is killed
                break
        time.sleep(random_moment.uniform(0, 0.3))
        workers = psutil.Process(server.pid).children()
        server.kill()
    until(lambda: all(map(ended, workers)))

    manager = JobManager(store, spool=spool)
    manager.start()
    try:
        jobs = sorted(manager.all(), key=lambda job: job.created_at)
        assert [job.kind for job in jobs] == [kind for kind, _ in ASKED]
        assert all(job.is_finished for job in jobs) and "interrupted" in {job.state for job in jobs}
        saved = {stored.name for stored in store.heads.summaries()}
        for job in jobs:
            if job.kind == "fit":
                made = saved & set(job.params["names"])
                assert job.state != "done" or made == set(job.params["names"])
                if job.state == "interrupted":
                    assert all(name in job.message for name in made) and ("nothing" in job.message) == (not made)
            if job.kind == "predict" and job.state == "interrupted":
                assert ("nothing was written" in job.message) == (not store.predictions("cells").exists())
        if store.predictions("cells").exists():
            assert set(store.predictions("cells").slides().values()) == {TILES}
        assert not list(spool.glob("scratch-*"))
        assert {folder.name for folder in spool.glob("*")} <= {job.id for job in jobs if job.state == "done"}
        again = manager.submit(Compact(), caller="ann")  # nobody holds a lease any more
        until(lambda: manager.get(again.id).is_finished)
        assert manager.get(again.id).state == "done", manager.get(again.id)
    finally:
        manager.close()
