"""`embedstore doctor`."""

import importlib.metadata
import os
import platform
import shutil
import socket
import sys
from typing import Any

import click

from cli.options import json_option, print_json
from embedstore.quantities import human_bytes

PACKAGES = (
    "embedstore", "lancedb", "pylance", "pyarrow", "ray", "torch", "torchvision", "timm", "jax", "flax", "optax",
    "openslide-python", "openslide-bin", "tifffile", "imagecodecs", "pydicom", "numpy",
)  # fmt: skip
EXTRAS = ("anndata", "fastslide")  # named where they are installed, missed by nobody
HUB = "huggingface.co"
TIMM_HINT = (
    "torch and torchvision must come from one index: `pip install --force-reinstall torch torchvision`, for the CPU "
    "both for the CPU; colour-12 and stain-texture do without timm"
)


@click.command(epilog="Example:  embedstore doctor --store my-store")
@click.option("--store", "-s", metavar="PATH|URI", help="Also check this store.")
@click.option("--address", metavar="ADDR", help="Also check this Ray cluster.")
@json_option
def command(store: str | None, address: str | None, as_json: bool) -> None:
    """Check versions, devices, readers, and access to the store, the hub and the cluster."""
    checks = [_python(), _packages(), _torch(), _timm(), _jax(), _openslide(), _memory(), _hub()]
    if store:
        checks.append(_store(store))
    if address:
        checks.append(_cluster(address))
    if as_json:
        print_json({check["check"]: check for check in checks})
    else:
        for check in checks:
            verdict = "ok  " if check["ok"] else "FAIL" if check["needed"] else "note"
            click.echo(f"{verdict}  {check['check']}: {check['found']}")
    if any(not check["ok"] and check["needed"] for check in checks):
        sys.exit(1)


def _check(name: str, ok: bool, found: str, *, needed: bool = True) -> dict[str, Any]:
    return {"check": name, "ok": ok, "needed": needed, "found": found}


def _python() -> dict[str, Any]:
    return _check("python", sys.version_info >= (3, 11), f"{platform.python_version()} on {platform.platform()}")


def _packages() -> dict[str, Any]:
    versions, missing = [], []
    for name in (*PACKAGES, *EXTRAS):
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            if name not in EXTRAS:
                missing.append(name)
    lack = f"; missing: {', '.join(missing)} (pip install embedstore)" if missing else ""
    return _check("packages", not missing, ", ".join(versions) + lack)


def _torch() -> dict[str, Any]:
    from embedstore.extractors.torch_runtime import torch_devices

    return _check("torch devices", True, ", ".join(torch_devices()))


def _timm() -> dict[str, Any]:
    from embedstore.errors import EmbedStoreError
    from embedstore.extractors import ExtractorConfig, load_extractor

    try:
        load_extractor(ExtractorConfig(ref="resnet18", weights="random"), device="cpu")
    except (ImportError, RuntimeError, EmbedStoreError) as error:
        return _check("timm", False, f"{error}; {TIMM_HINT}")
    return _check("timm", True, "creates networks")


def _jax() -> dict[str, Any]:
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    try:
        from heads.devices import jax_devices

        devices = jax_devices()
    except (ImportError, RuntimeError) as error:
        return _check("jax devices", False, str(error))
    hint = (
        ""
        if any("cuda" in d.lower() or "gpu" in d.lower() for d in devices)
        else " (a GPU needs `pip install 'embedstore[cuda]'`)"
    )
    return _check("jax devices", True, ", ".join(devices) + hint)


def _openslide() -> dict[str, Any]:
    from embedstore.slides.readers.openslide_reader import library_version

    return _check("openslide", True, f"library {library_version()}")


def _memory() -> dict[str, Any]:
    import psutil

    free = psutil.virtual_memory().available
    shm = shutil.disk_usage("/dev/shm").free if os.path.isdir("/dev/shm") else 0  # noqa: PTH112
    found = f"{os.cpu_count()} cores, {human_bytes(free)} memory free, {human_bytes(shm)} shared memory for Ray"
    return _check("machine", free > 2e9, found)


def _hub() -> dict[str, Any]:
    if os.environ.get("HF_HUB_OFFLINE") == "1":
        return _check("hub", True, "HF_HUB_OFFLINE=1: weights come from --weights or the cache", needed=False)
    try:
        socket.create_connection((HUB, 443), timeout=3).close()
    except OSError as error:
        found = f"{HUB} is not reached ({error}): weights come from --weights or the cache, or use stain-texture"
        return _check("hub", False, found, needed=False)
    token = "a token is set" if os.environ.get("HF_TOKEN") else "no HF_TOKEN, which gated weights need"
    return _check("hub", True, f"{HUB} is reached; {token}", needed=False)


def _store(uri: str) -> dict[str, Any]:
    from embedstore.errors import EmbedStoreError
    from embedstore.store import Store

    try:
        opened = Store.open(uri)
        names = opened.collection_names()
        found = ", ".join(f"{name} ({len(opened.collection(name))} tiles)" for name in names) or "no collection yet"
    except (EmbedStoreError, OSError) as error:
        return _check("store", False, str(error))
    return _check("store", True, f"{opened.uri}: {found}")


def _cluster(address: str) -> dict[str, Any]:
    from actors.cluster import cluster, nodes
    from embedstore.errors import ClusterError

    try:
        with cluster(address):
            found = nodes()
    except ClusterError as error:
        return _check("cluster", False, str(error))
    return _check("cluster", True, "; ".join(f"{n['cpus']} CPUs, {n['gpus']} GPUs" for n in found))
