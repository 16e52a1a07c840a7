"""Nodes with an environment of their own: without embedstore, with another version of it, with its wheel alone."""

import contextlib
import os
import signal
import subprocess
import sys
import sysconfig
import time
import venv
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.ray_cluster import ray_cluster

from .conftest import embedstore_process

pytestmark = [pytest.mark.slow, pytest.mark.ray, pytest.mark.filterwarnings("ignore")]  # of Ray's own test harness

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def head() -> Iterator[str]:
    """The address of a cluster whose only node has no CPU for workers."""
    with ray_cluster(num_cpus=0) as cluster:
        yield cluster.address


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python with the libraries of this one, and no embedstore."""
    folder = tmp_path_factory.mktemp("environment")
    venv.EnvBuilder(symlinks=True).create(folder)
    # Folders that a .pth file names are not searched for further .pth files, such as that of an editable install.
    (site_packages(folder) / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder


def site_packages(environment: Path) -> Path:
    return environment / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"


def unpack_wheel(into: Path, scratch: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(scratch)]
    subprocess.run(build, cwd=REPOSITORY, check=True, capture_output=True)
    (wheel,) = scratch.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(site_packages(into))


@contextlib.contextmanager
def node(environment: Path, address: str, elsewhere: Path, *, hidden: Sequence[Path] = ()) -> Iterator[None]:
    """A node of two CPUs, whose workers run in that environment, from a folder that has nothing to do with ours.

    Args:
        hidden: Folders that the node does not see, in whose place it has empty ones.
    """
    command = [environment / "bin" / "python", "-m", "ray.scripts.scripts", "start", "--block", "--num-cpus", "2"]
    variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    for folder in hidden:
        hide = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none "$0" && exec "$@"', folder]
        command = [*hide, *command]  # type: ignore[list-item]
    with (elsewhere / "node.log").open("w+") as log:
        process = subprocess.Popen(
            [*command, "--address", address],
            cwd=elsewhere,
            env=variables,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            deadline = time.monotonic() + 300
            while "Ray runtime started" not in (elsewhere / "node.log").read_text():
                assert process.poll() is None and time.monotonic() < deadline, (elsewhere / "node.log").read_text()
                time.sleep(0.2)
            yield
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(timeout=300)


def test_nodes_of_their_own(head: str, environment: Path, slides: Path, tmp_path: Path):
    """Each command has workers of its own, which find what is installed by then."""
    command = ("ingest", slides, "-s", tmp_path / "store", "-e", "colour-12", "--readers", "1", "--address", head)
    with node(environment, head, tmp_path):
        ended = embedstore_process(*command)
        assert ended.code == 1 and "of the cluster has no embedstore (Python 3" in ended.err
        assert "install this wheel there" in ended.err and "Traceback" not in ended.err
        unpack_wheel(environment, tmp_path)
        version = site_packages(environment) / "embedstore" / "version.py"
        ours = version.read_text()
        version.write_text('__version__ = "0.0.9"\n')
        ended = embedstore_process(*command)
        assert ended.code == 1 and "of the cluster has embedstore 0.0.9; this is embedstore" in ended.err
        version.write_text(ours)
        ended = embedstore_process(*command)
        assert ended.code == 3, ended.err  # a slide is torn
        assert ended.out.startswith("3 slide(s) done")
        checks = embedstore_process("doctor", "--address", head, "--store", tmp_path / "store", "--json").json()
    assert_nodes(checks)


def assert_nodes(checks: dict[str, dict[str, str]]) -> None:
    found = [check["found"] for name, check in checks.items() if name.startswith("node ")]
    assert sorted(text[:6] for text in found) == ["0 CPUs", "2 CPUs"]
    assert all("reaches the store, sees 4 of 4 slides that were tried" in text for text in found)


@pytest.mark.skipif(
    subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode != 0, reason="needs mount namespaces"
)
def test_a_node_that_does_not_see_the_store_or_the_slides(head: str, environment: Path, slides: Path, tmp_path: Path):
    store, seen = tmp_path / "store", tmp_path / "seen"
    store.mkdir()
    command = ("ingest", slides, "-e", "colour-12", "--address", head, "-s")
    with node(environment, head, tmp_path, hidden=(store, slides)):
        ended = embedstore_process(*command, store)
        assert ended.code == 1 and f"of the cluster does not see the folder {store} of this machine" in ended.err
        assert "a URI such as s3://bucket/store" in ended.err and "Traceback" not in ended.err
        ended = embedstore_process(*command, seen)
        assert ended.code == 1 and "of the cluster cannot read 4 of 4 files that were tried" in ended.err
