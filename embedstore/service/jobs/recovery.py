"""What becomes of the jobs of a server that is gone."""

from dataclasses import replace

from embedstore.errors import EmbedStoreError
from embedstore.service.jobs.kinds import job_kind
from embedstore.store import Job, Store, is_held
from embedstore.store.table import now


def interrupt_lost_jobs(tables: Store, *, server: str) -> tuple[list[Job], list[Job]]:
    """Say of each job whose server is gone that it was interrupted, and what it left in the store.

    Args:
        server: This server, whose jobs are not lost.
    Returns:
        The jobs that were lost, and those that other servers have not ended.
    """
    unfinished = [job for job in tables.jobs.unfinished() if job.server != server]
    held = {name for name in {job.server for job in unfinished} if is_held(tables.uri, name)}
    lost = [_interrupted(tables, job) for job in unfinished if job.server not in held]
    tables.jobs.record(lost)
    return lost, [job for job in unfinished if job.server in held]


def _interrupted(tables: Store, job: Job) -> Job:
    message = "the server ended before it began; nothing was written"
    if job.started_at is not None:
        message = f"the server ended while it ran: {left_by(tables, job)}"
    return replace(job, state="interrupted", message=message, ended_at=now())


def left_by(tables: Store, job: Job) -> str:
    """What a job that had begun, and was ended, has left in the store."""
    try:
        assert job.started_at is not None
        return job_kind(job.kind, job.params).left(tables.again(), job.started_at)
    except EmbedStoreError as error:  # of a later version, or about what is gone by now
        return f"what it left is not known ({error})"
