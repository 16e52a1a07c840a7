"""Where a run goes that was not told: in this process, on a Ray that is started for it, or on a cluster.

On a machine without a GPU one process is the better place: Ray costs 3 CPU-seconds to start, 0.1 to 0.3 CPU-ms
more a tile and 0.4 GB. Each slide is decoded in a process of its own in both. `docs/decisions/one-process.md` has the
figures.
"""

import dataclasses
import os
import sys
from pathlib import Path

from embedstore.config import MIB, ExecutionConfig, RunConfig


def placed(execution: ExecutionConfig, run: RunConfig) -> ExecutionConfig:
    """The same, in one process or on Ray: as the user says, and otherwise on Ray where something needs it."""
    if execution.in_process or execution.ray or execution.address is not None:
        return execution
    if not _joined() and (address := _address_of_environment()) is not None:
        return dataclasses.replace(execution, address=address)
    extractors = run.extractors or run.min_extractors
    on_ray = extractors > 1 or _joined() or (execution.device != "cpu" and gpus() > 0)
    return dataclasses.replace(execution, ray=on_ray, in_process=not on_ray)


def chunk_bytes(execution: ExecutionConfig, run: RunConfig) -> int:
    """Pixels that a reader sends at once where the user says nothing, in a place that `placed` found.

    Through Ray a chunk costs 4 CPU-ms, whatever its size. In one process it costs nothing, and a run that is
    interrupted waits until the last one is embedded.
    """
    return run.chunk_bytes or (8 if execution.in_process else 16) * MIB


def described(execution: ExecutionConfig) -> str:
    """Where a run goes, for people."""
    if execution.in_process:
        return "runs in this process"
    if _joined():
        return "runs on the Ray cluster that this process has joined"
    if execution.address is not None:
        return f"runs on the Ray cluster at {execution.address}"
    return "runs on Ray, which is started on this machine"


def gpus(devices: Path = Path("/dev")) -> int:
    """GPUs that a process here may use, without a library that would have to be loaded for it."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None and visible.strip() in ("", "-1", "NoDevFiles"):
        return 0
    nvidia = sum(device.name.removeprefix("nvidia").isdigit() for device in devices.glob("nvidia*"))
    amd = len(list(devices.glob("dri/renderD*"))) if (devices / "kfd").exists() else 0
    found = nvidia or amd
    return found if visible is None else min(found, len(visible.split(",")))


def _address_of_environment() -> str | None:
    """The cluster of a job: `ray job submit` names it to what it runs, and Ray's own programs join it.

    Addresses with a scheme are for others: `http://` for Ray's command line, `ray://` for its client.
    """
    address = os.environ.get("RAY_ADDRESS", "")
    return None if address in ("", "local") or "://" in address else address


def _joined() -> bool:
    """Whether this process is part of a Ray cluster."""
    ray = sys.modules.get("ray")
    return ray is not None and ray.is_initialized()
