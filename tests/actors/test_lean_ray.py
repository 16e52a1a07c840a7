"""What a Ray for one run is started without, and that any other Ray of the process is as ever."""

import os
import subprocess
import sys

import pytest
import ray._private.node
import ray._private.parameter
import ray.util.serialization_addons

from actors.lean_ray import SETTINGS, lean_ray


def test_a_cluster_for_one_run_has_no_processes_that_only_watch_it():
    def started() -> tuple[bool, bool | None]:
        parameters = ray._private.parameter.RayParams()
        return parameters.no_monitor, parameters.include_log_monitor

    node = ray._private.node.Node
    usual, server = started(), node.start_api_server
    with lean_ray():
        assert started() == (True, False)
        assert node.start_api_server is not server
    assert started() == usual == (False, None)
    assert node.start_api_server is server


def test_its_settings_end_with_it_and_those_of_the_user_stay(monkeypatch: pytest.MonkeyPatch):
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RAY_worker_niceness", "7")
    before = dict(os.environ)
    with lean_ray():
        assert os.environ == before | SETTINGS | {"RAY_worker_niceness": "7"}
    assert os.environ == before


@pytest.mark.slow
def test_its_processes_do_not_load_what_only_objects_of_others_need():
    """Ray names the module to its workers; here a process imports it, and then has a call's arguments to read."""
    preloaded = SETTINGS["RAY_preload_python_modules"]
    code = f"""
import importlib, sys
import ray
importlib.import_module({preloaded!r})
from ray._private.serialization import SerializationContext
SerializationContext(None)
print(sorted({{"pydantic", "starlette"}} & sys.modules.keys()))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.splitlines()[-1] == "[]"


def test_this_process_prepares_objects_of_others_only_for_other_rays():
    apply = ray.util.serialization_addons.apply
    with pytest.raises(RuntimeError, match="ended"), lean_ray():
        assert ray.util.serialization_addons.apply is not apply
        raise RuntimeError("ended")
    assert ray.util.serialization_addons.apply is apply
