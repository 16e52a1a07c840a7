"""With a cluster, images of queries are embedded and heads fitted on its nodes, and what comes out is the same."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from embedstore.api import Store, create, synthesize_slides
from embedstore.progress import no_progress
from embedstore.service.extractors import OwnExtractors
from embedstore.service.jobs import Fit, JobManager
from embedstore.store import Store as StoreTables
from tests.heads.scene import make_store
from tests.service.jobs.waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.ray]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A cluster that this process has joined."""
    import ray

    from actors.cluster import cluster

    with cluster(None):
        yield ray.get_runtime_context().gcs_address


def test_an_extractor_embeds_on_the_cluster(address: str, tmp_path: Path):
    (slide,) = synthesize_slides(tmp_path / "slides", slides=1, size_px=(800, 600), on_progress=no_progress)
    store = create(tmp_path / "store")
    store.ingest(slide.path, mpp=0.5, execution={"in_process": True}, on_progress=no_progress)
    collection = StoreTables.open(store.uri).collection()
    pixels = np.random.default_rng(0).integers(0, 255, (3, 256, 256, 3), np.uint8)
    here, there = OwnExtractors().get(collection), OwnExtractors(on_cluster=True).get(collection)
    assert (there.name, there.dim, there.digest) == (here.name, here.dim, here.digest)
    np.testing.assert_array_equal(there.embed(pixels), here.embed(pixels))
    there.close()  # type: ignore[attr-defined]


def test_a_head_is_fitted_on_the_cluster(address: str, tmp_path: Path):
    tables = make_store(tmp_path)
    jobs = JobManager(tables, spool=tmp_path / "spool", cluster=address)
    jobs.start()
    try:
        job = jobs.submit(Fit(tasks=("tissue",), names=("there",)), caller="ann")
        until(lambda: jobs.get(job.id).is_finished, timeout_s=180)
        done = jobs.get(job.id)
        assert done.state == "done", done.message
        assert done.progress is not None and done.progress.stage == "fit"
    finally:
        jobs.close()
    store = Store(tables)
    assert store.head("there").digest == store.fit_head("tissue", name="here").digest
