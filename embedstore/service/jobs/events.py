"""A job's changes as they come, for server-sent events: waiting takes no thread."""

import asyncio
from collections.abc import AsyncIterator

from embedstore.errors import JobNotFoundError
from embedstore.service.jobs.manager import JobManager
from embedstore.store import Job

#: Shortest time between two events of a job, seconds: people see no more.
PAUSE_S = 0.2
#: A job of another server is looked up so often, seconds.
LOOK_UP_S = 3.0


async def job_changes(manager: JobManager, job_id: str, *, last: str | None = None) -> AsyncIterator[tuple[str, Job]]:
    """A job as it is now, and again whenever it has changed, until it has ended.

    Args:
        last: The mark of the state that the listener knows already; that one is left out.
    Yields:
        (mark, job).
    Raises:
        JobNotFoundError: there is no such job.
    """
    loop, changed = asyncio.get_running_loop(), asyncio.Event()

    def wake() -> None:
        loop.call_soon_threadsafe(changed.set)

    with manager.watched(job_id, wake):
        while True:
            changed.clear()
            try:
                job, mark = await asyncio.to_thread(manager.snapshot, job_id)
            except JobNotFoundError:
                if last is None:
                    raise
                return  # its row named a slide that was removed
            if mark != last:
                last = mark
                yield mark, job
            if job.is_finished or not manager.is_heard:
                return
            waiting = LOOK_UP_S if job.server != manager.server else None
            try:
                await asyncio.wait_for(changed.wait(), waiting)
            except TimeoutError:
                continue
            await asyncio.sleep(PAUSE_S)
