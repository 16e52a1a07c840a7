"""Whether this machine has what embedstore needs: versions, devices, readers, and access to store, hub and cluster."""

import importlib.metadata
import os
import platform
import shutil
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from embedstore.arguments import checks_arguments
from embedstore.quantities import human_bytes

if TYPE_CHECKING:
    from actors.nodes import NodeReport, RunInputs

PACKAGES = (
    "embedstore", "lancedb", "pylance", "pyarrow", "ray", "torch", "torchvision", "timm", "jax", "flax", "optax",
    "openslide-python", "openslide-bin", "tifffile", "tensorstore", "imagecodecs", "pydicom", "numpy",
)  # fmt: skip
#: Listed if installed; never reported as missing.
EXTRAS = (
    "anndata", "faiss-cpu", "fastslide", "highdicom", "open_clip_torch", "openpyxl", "pacmap", "pandas", "polars",
    "transformers", "zarr",
)  # fmt: skip
HUB = "huggingface.co"
TIMM_HINT = (
    "install torch and torchvision from one package index, both for the CPU or both for CUDA: `pip install "
    "--force-reinstall torch torchvision`; colour-12 and stain-texture do without timm"
)
ENOUGH_MEMORY_BYTES = 2e9


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that was checked.

    Attributes:
        name: What was checked.
        ok: Whether it is as it should be.
        needed: Whether embedstore needs it for its usual work.
        found: What was found, and what to do where that is not enough.
    """

    name: str
    ok: bool
    found: str
    needed: bool = True


@checks_arguments
def check_environment(store: str | None = None, *, address: str | None = None) -> list[Check]:
    """Check versions, devices, readers, the hub and, where they are named, a store and a Ray cluster.

    Args:
        store: Path or URI of a store.
        address: Address of a Ray cluster.
    """
    checks = [_python(), _packages(), _torch(), _timm(), _jax(), _openslide(), _machine(), _hub()]
    if store is not None:
        checks.append(_store(store))
    if address is not None:
        checks += _cluster(address, store)
    return checks


def _python() -> Check:
    ok = sys.version_info >= (3, 11)
    return Check(name="python", ok=ok, found=f"{platform.python_version()} on {platform.platform()}")


def _packages() -> Check:
    versions, missing = [], []
    for name in (*PACKAGES, *EXTRAS):
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            missing += [name] * (name in PACKAGES)
    hint = f"; missing: {', '.join(missing)} (pip install embedstore)" if missing else ""
    return Check(name="packages", ok=not missing, found=", ".join(versions) + hint)


def _torch() -> Check:
    from embedstore.extractors.torch_runtime import torch_devices

    return Check(name="torch devices", ok=True, found=", ".join(torch_devices()))


def _timm() -> Check:
    from embedstore.errors import EmbedStoreError
    from embedstore.extractors import ExtractorConfig, load_extractor

    try:
        load_extractor(ExtractorConfig(ref="resnet18", weights="random"), device="cpu")
    except (ImportError, RuntimeError, EmbedStoreError) as error:
        return Check(name="timm", ok=False, found=f"{error}; {TIMM_HINT}")
    return Check(name="timm", ok=True, found="creates networks")


def _jax() -> Check:
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    try:
        from heads.devices import jax_devices

        devices = jax_devices()
    except (ImportError, RuntimeError) as error:
        return Check(name="jax devices", ok=False, found=str(error))
    has_gpu = any(word in device.lower() for device in devices for word in ("cuda", "gpu"))
    hint = "" if has_gpu else " (a GPU needs `pip install 'embedstore[cuda]'`)"
    return Check(name="jax devices", ok=True, found=", ".join(devices) + hint)


def _openslide() -> Check:
    from embedstore.slides.readers.openslide_reader import library_version

    return Check(name="openslide", ok=True, found=f"library {library_version()}")


def _machine() -> Check:
    import psutil

    free = psutil.virtual_memory().available
    shared = shutil.disk_usage("/dev/shm").free if os.path.isdir("/dev/shm") else 0  # noqa: PTH112
    found = f"{os.cpu_count()} cores, {human_bytes(free)} memory free, {human_bytes(shared)} shared memory for Ray"
    return Check(name="machine", ok=free > ENOUGH_MEMORY_BYTES, found=found)


def _hub() -> Check:
    if os.environ.get("HF_HUB_OFFLINE") == "1":
        found = "HF_HUB_OFFLINE=1: weights come from --weights or the cache"
        return Check(name="hub", ok=True, found=found, needed=False)
    try:
        socket.create_connection((HUB, 443), timeout=3).close()
    except OSError as error:
        found = f"{HUB} cannot be reached ({error}): weights come from --weights or the cache, or use stain-texture"
        return Check(name="hub", ok=False, found=found, needed=False)
    token = "a token is set" if os.environ.get("HF_TOKEN") else "no HF_TOKEN, which gated weights need"
    return Check(name="hub", ok=True, found=f"{HUB} is reached; {token}", needed=False)


def _store(uri: str) -> Check:
    from embedstore.access_errors import access_error
    from embedstore.errors import AccessError, EmbedStoreError
    from embedstore.store import Store
    from embedstore.store.location import require_writable
    from embedstore.store.missing_files import missing_files

    try:
        tables = Store.open(uri)
        names = tables.collection_names()
        tables.ledger.slide_schema()  # fails where a column keeps the slides from being read
        found = ", ".join(f"{name} ({len(tables.collection(name))} tiles)" for name in names) or "no collection yet"
        if missing := missing_files(tables.uri):
            found = (
                f"{len(missing)} file(s) of the newest versions of its tables are missing, such as {missing[0]}; was "
                "it copied while somebody wrote to it? Copy it again, or restore a backup"
            )
            return Check(name="store", ok=False, found=f"{tables.uri}: {found}")
        try:
            require_writable(tables.uri)
        except AccessError as error:
            found += f"; it can be read only: {error}"
    except (EmbedStoreError, OSError) as error:
        return Check(name="store", ok=False, found=str(access_error(error) or error))
    return Check(name="store", ok=True, found=f"{tables.uri}: {found}")


def _cluster(address: str, store: str | None) -> list[Check]:
    """The cluster, and each of its nodes: its embedstore, and whether it reaches the store and the slides in it."""
    from actors.cluster import cluster
    from actors.nodes import inspect_nodes, nodes
    from embedstore.errors import EmbedStoreError

    try:
        with cluster(address):
            live = nodes()
            reports = inspect_nodes(live, _inputs(store), open_store=store is not None)
    except EmbedStoreError as error:
        return [Check(name="cluster", ok=False, found=str(error))]
    total = f"{len(live)} node(s), {sum(node.cpus for node in live)} CPUs, {sum(node.gpus for node in live)} GPUs"
    return [Check(name="cluster", ok=True, found=total), *(_node(report, store) for report in reports)]


def _inputs(store: str | None) -> "RunInputs":
    """What the nodes should reach: a store, and the slides that it knows."""
    from actors.nodes import RunInputs
    from embedstore.errors import EmbedStoreError
    from embedstore.store import Store

    if store is None:
        return RunInputs()
    try:
        tables = Store.open(store)
        return RunInputs(
            store_uri=tables.uri,
            files=tuple(row.path for row in tables.ledger.slides() if Path(row.path).is_absolute()),
        )
    except (EmbedStoreError, OSError):
        return RunInputs()  # the check of the store says why


def _node(report: "NodeReport", store: str | None) -> Check:
    node = report.node
    found = f"{node.cpus} CPUs, {node.gpus} GPUs"
    if report.version is not None:
        found += f", embedstore {report.version}, Python {report.python}"
    if report.error is not None:
        return Check(name=report.name, ok=False, found=f"{found}; {report.error}")
    if store is not None:
        found += f", reaches the store, sees {report.files} of {report.files} slides that were tried"
    return Check(name=report.name, ok=True, found=found)
