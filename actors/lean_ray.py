"""Ray for one run on this machine: started without what the run neither needs nor looks at."""

import contextlib
import functools
import inspect
import os
from collections.abc import Iterator
from typing import Any

import ray._private.node
import ray._private.parameter
import ray.util.serialization_addons

#: Settings of Ray that it reads from the environment; a user's own go first.
SETTINGS = {
    # Ray's own default, 15, would let any other process of the machine stop a network between two layers.
    "RAY_worker_niceness": "0",
    # Or a process a core is started, each 0.3 CPU-seconds, of which a run on a large machine uses a quarter.
    "RAY_prestart_worker_first_driver": "0",
    "RAY_preload_python_modules": "actors.worker_preload",
    # By default Ray reports to its makers how it is used.
    "RAY_USAGE_STATS_ENABLED": "0",
}


@contextlib.contextmanager
def lean_ray() -> Iterator[None]:
    """What Ray starts within is lean; afterwards Ray starts, in this process, as ever."""
    with _settings(), _without_observers(), _without_serializers():
        yield


@contextlib.contextmanager
def _settings() -> Iterator[None]:
    added = SETTINGS.keys() - os.environ.keys()
    os.environ.update({name: SETTINGS[name] for name in added})
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


@contextlib.contextmanager
def _without_observers() -> Iterator[None]:
    """Start Ray without processes that only watch it: 1.2 of 3.1 CPU-seconds.

    `ray.init` always starts an autoscaler, a monitor of log files, and a server of the dashboard even where that is
    left out. A cluster for one run neither grows nor is looked at. Ray has parameters for two of them that `ray.init`
    does not take; a Ray without these parameters starts as ever.
    """
    parameters, node = ray._private.parameter.RayParams, ray._private.node.Node
    wanted: dict[str, Any] = {"no_monitor": True, "include_log_monitor": False}
    if not wanted.keys() <= inspect.signature(parameters).parameters.keys():
        yield
        return
    server = node.start_api_server
    ray._private.parameter.RayParams = functools.partial(parameters, **wanted)  # type: ignore[misc, assignment]
    node.start_api_server = lambda *args, **settings: None  # type: ignore[method-assign]
    try:
        yield
    finally:
        ray._private.parameter.RayParams = parameters  # type: ignore[misc]
        node.start_api_server = server  # type: ignore[method-assign]


@contextlib.contextmanager
def _without_serializers() -> Iterator[None]:
    """In this process what `worker_preload.py` does in each worker."""
    apply = ray.util.serialization_addons.apply
    ray.util.serialization_addons.apply = lambda context: None
    try:
        yield
    finally:
        ray.util.serialization_addons.apply = apply
