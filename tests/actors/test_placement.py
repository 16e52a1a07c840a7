"""Where a run goes that was not told."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from actors import placement
from actors.placement import chunk_bytes, described, placed
from actors.placement import gpus as counted
from embedstore.config import ExecutionConfig, RunConfig
from embedstore.errors import ConfigError


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A machine without a GPU, and a process outside of any cluster."""
    monkeypatch.setattr(placement, "gpus", lambda: 0)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(is_initialized=lambda: False))
    return monkeypatch


def where(run: RunConfig | None = None, **execution: Any) -> str:
    config = placed(ExecutionConfig(**execution), run or RunConfig())
    assert placed(config, RunConfig()) == config  # it stays where it was put
    assert config.in_process + (config.ray or config.address is not None) == 1
    return described(config)


def test_one_process_unless_something_needs_ray(machine: pytest.MonkeyPatch):
    in_process, on_ray = "runs in this process", "runs on Ray, which is started on this machine"
    assert where() == where(in_process=True) == where(RunConfig(readers=8)) == in_process
    assert where(ray=True) == where(RunConfig(extractors=2)) == where(RunConfig(min_extractors=2)) == on_ray
    assert where(address="auto") == "runs on the Ray cluster at auto"
    machine.setattr(placement, "gpus", lambda: 1)
    assert where() == where(device="cuda:0") == on_ray
    assert where(device="cpu") == where(in_process=True) == in_process
    machine.setattr(placement, "gpus", lambda: 0)
    machine.setitem(sys.modules, "ray", SimpleNamespace(is_initialized=lambda: True))
    assert where() == where(address="auto") == "runs on the Ray cluster that this process has joined"


def test_a_job_of_a_cluster_runs_on_it_unless_told_otherwise(machine: pytest.MonkeyPatch):
    machine.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert where() == where(RunConfig(extractors=2)) == "runs on the Ray cluster at 10.0.0.1:6379"
    assert where(in_process=True) == "runs in this process"
    assert where(ray=True) == "runs on Ray, which is started on this machine"
    assert where(address="10.0.0.2:6379") == "runs on the Ray cluster at 10.0.0.2:6379"
    machine.setitem(sys.modules, "ray", SimpleNamespace(is_initialized=lambda: True))
    assert where() == "runs on the Ray cluster that this process has joined"


@pytest.mark.parametrize("address", ["", "local", "http://127.0.0.1:8265", "ray://head:10001"])
def test_what_is_no_address_for_a_driver_is_passed_over(machine: pytest.MonkeyPatch, address: str):
    machine.setenv("RAY_ADDRESS", address)
    assert where() == "runs in this process"


def test_chunks_are_larger_on_ray_unless_the_user_says_how_large():
    def size(run: RunConfig, **execution: Any) -> int:
        return chunk_bytes(placed(ExecutionConfig(**execution), run), run)

    assert size(RunConfig()) == size(RunConfig(), in_process=True) == 8 << 20
    assert size(RunConfig(), ray=True) == size(RunConfig(), address="auto") == 16 << 20
    assert size(RunConfig(chunk_bytes=5)) == size(RunConfig(chunk_bytes=5), ray=True) == 5


@pytest.mark.parametrize("other", [{"ray": True}, {"address": "auto"}])
def test_two_places_at_once_are_refused(other: dict[str, Any]):
    with pytest.raises(ConfigError, match="expected one place to run"):
        ExecutionConfig(in_process=True, **other)


@pytest.mark.parametrize(
    ("devices", "visible", "expected"),
    [
        (["nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"], None, 2),
        (["nvidia0", "nvidia1", "nvidiactl"], "1", 1),
        (["nvidia0"], "", 0),
        (["nvidia0"], "-1", 0),
        (["dri/renderD128", "dri/renderD129", "kfd"], None, 2),
        (["dri/renderD128"], None, 0),  # a screen's
    ],
)
def test_gpus_are_counted_by_their_devices(
    devices: list[str], visible: str | None, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for device in devices:
        path = tmp_path / device
        path.parent.mkdir(exist_ok=True)
        path.touch()
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert counted(tmp_path) == expected
