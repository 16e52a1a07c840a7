"""The scripts of deploy/ for SLURM, run by bash, with a `srun` that runs what it is given on this machine."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

import embedstore
from synthetic_slides import write_slide
from tests.packaging.sources import REPOSITORY

pytestmark = pytest.mark.slow
SRUN = """#!/bin/bash
while [[ $1 == --* ]]; do shift; done
exec "$@"
"""


def number_of_a_job() -> int:
    """One whose port, as the script chooses it, nobody has."""
    taken = {connection.laddr.port for connection in psutil.net_connections("tcp") if connection.laddr}
    return random.choice([number for number in range(20_000) if 20_000 + number not in taken])


@pytest.fixture
def job(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of a job on one node."""
    for name, text in (("srun", SRUN), ("scontrol", "#!/bin/sh\necho localhost\n")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    number = str(number_of_a_job())
    kept = {name: value for name, value in os.environ.items() if name != "TMPDIR"}  # Ray's sockets want a short path
    yield kept | {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "EMBEDSTORE_ENV": sys.prefix,
        "PYTHONPATH": str(REPOSITORY),
        "SLURM_JOB_ID": number,
        "SLURM_JOB_NODELIST": "localhost",
        "SLURM_CPUS_PER_TASK": "2",
    }
    shutil.rmtree(f"/tmp/ray-{number}", ignore_errors=True)


def submit(script: str, *arguments: object, job: dict[str, str], cwd: Path) -> tuple[int, str]:
    """Run a script as a job; at its end, what it started is ended, as SLURM does."""
    command = ["bash", str(REPOSITORY / "deploy" / script), *map(str, arguments)]
    with (cwd / "job.out").open("w+") as out:
        process = subprocess.Popen(command, cwd=cwd, env=job, stdout=out, stderr=out, start_new_session=True)
        try:
            ended = process.wait(timeout=300)
        finally:
            while _ask_to_end(process.pid):
                time.sleep(0.2)
        out.seek(0)
        return ended, out.read()


def _ask_to_end(group: int) -> bool:
    """Whether there was still a process of a group to ask."""
    try:
        os.killpg(group, signal.SIGTERM)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.ray
def test_a_job_starts_ray_and_ingests_on_it(job: dict[str, str], tmp_path: Path):
    write_slide(tmp_path / "slides" / "a.svs", size_px=(1500, 1500))
    ended, said = submit("slurm.sh", tmp_path / "slides", tmp_path / "store", job=job, cwd=tmp_path)
    assert ended == 0, said
    assert "runs on the Ray cluster at localhost:" in said and "1 slide(s) done" in said
    assert len(embedstore.open(tmp_path / "store").collection()) > 0
    told = (tmp_path / f"ray-{job['SLURM_JOB_ID']}.log").read_text()
    assert "Ray runtime started" in told and "Usage stats collection is disabled" in told
    assert "Ray runtime started" not in said


def test_a_job_ends_where_ray_does_not_start(job: dict[str, str], tmp_path: Path):
    environment = tmp_path / "environment" / "bin"
    environment.mkdir(parents=True)
    (environment / "activate").write_text(f"PATH={environment}:$PATH\n")
    (environment / "ray").write_text("#!/bin/sh\necho no memory\nexit 1\n")
    (environment / "ray").chmod(0o755)
    ended, said = submit(
        "slurm.sh", "slides", "store", job=job | {"EMBEDSTORE_ENV": str(environment.parent)}, cwd=tmp_path
    )
    assert ended == 1 and f"Ray did not start on localhost: {tmp_path}/ray-{job['SLURM_JOB_ID']}.log" in said
    assert "no memory" in (tmp_path / f"ray-{job['SLURM_JOB_ID']}.log").read_text()


def test_a_task_of_an_array_ingests_by_itself(job: dict[str, str], tmp_path: Path):
    write_slide(tmp_path / "slides" / "a.svs", size_px=(1500, 1500))
    ended, said = submit("slurm-array.sh", tmp_path / "slides", tmp_path / "store", job=job, cwd=tmp_path)
    assert ended == 0 and "1 slide(s) done" in said, said


@pytest.mark.parametrize("script", ["slurm.sh", "slurm-array.sh"])
def test_an_environment_that_is_not_there_is_named(script: str, job: dict[str, str], tmp_path: Path):
    ended, said = submit(script, "slides", "store", job=job | {"EMBEDSTORE_ENV": "/nowhere"}, cwd=tmp_path)
    assert (ended, said) == (1, "no Python environment at /nowhere: name one in EMBEDSTORE_ENV\n")
