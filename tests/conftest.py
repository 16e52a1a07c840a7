"""Shared fixtures; unit tests are kept from the network and from Ray."""

import contextlib
import ctypes
import gc
import importlib.util
import os
import re
import secrets
import shutil
import signal
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import psutil
import pytest
import pytest_socket

from tests.object_store import ObjectStore

REPOSITORY = Path(__file__).resolve().parent.parent
#: Programs that JAX compiled, for every process of the tests and for the next run; read when JAX is imported.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(REPOSITORY / ".pytest_cache" / "jax"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
#: Kept to once a run: JAX's own limit reads the whole folder for each program that it adds, 40 µs for each there.
PROGRAMS_BYTES = 10**9
#: Two processes side by side have a core each; threads that spin for one another cost more than they bring.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
#: Memory in which the tests keep their files, where a machine has such a folder and so much room in it, bytes.
#: A small commit takes half the time of one on a disk: most of that is the file system's, which makes five files.
MEMORY_FOLDER, MEMORY_FOLDER_BYTES = Path("/dev/shm"), 6 * 2**30
if MEMORY_FOLDER.is_dir() and shutil.disk_usage(MEMORY_FOLDER).free >= MEMORY_FOLDER_BYTES:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY_FOLDER))

#: glibc keeps what was freed in pieces that fit nothing else: a process of the tests took a quarter more memory.
#: {parameter of `mallopt`: value}: of M_ARENA_MAX, M_MMAP_THRESHOLD and M_TRIM_THRESHOLD, bytes.
for _parameter, _value in {-8: 2, -3: 2**20, -1: 2**25}.items():
    if _mallopt := getattr(ctypes.CDLL(None), "mallopt", None):
        _mallopt(_parameter, _value)


#: No machine is too slow for a property. Each run tries the same examples: none fails for what another change broke.
PROPERTIES: dict[str, Any] = {
    "deadline": None, "derandomize": True, "suppress_health_check": [hypothesis.HealthCheck.too_slow],
}  # fmt: skip
hypothesis.settings.register_profile("full", **PROPERTIES)
#: Of `make test-fast`: a quarter of the examples of a property; see also `tests.marks.examples`.
hypothesis.settings.register_profile("fast", max_examples=25, **PROPERTIES)


def pytest_configure(config: pytest.Config) -> None:
    # A shell lets what it starts with `&` ignore Ctrl-C, and so would the commands that tests interrupt.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if not hasattr(config, "workerinput"):
        drop_programs(Path(os.environ["JAX_COMPILATION_CACHE_DIR"]), PROGRAMS_BYTES)
    hypothesis.settings.load_profile("fast" if "not slow" in config.option.markexpr else "full")


def drop_programs(folder: Path, limit_bytes: int) -> None:
    """Delete the programs of a cache that were not read for longest, until the others take `limit_bytes`.

    A run of the tests that begins at the same time may delete some as well.
    """
    programs = []
    for path in folder.glob("*-cache"):
        with contextlib.suppress(FileNotFoundError):
            programs.append((path, path.stat()))
    excess = sum(about.st_size for _, about in programs) - limit_bytes
    for path, about in sorted(programs, key=lambda each: each[1].st_atime):
        if excess <= 0:
            break
        path.unlink(missing_ok=True)
        excess -= about.st_size


#: Of a file all of whose tests are slow, start Ray or open a browser; and of one that has a test which does.
ALL_SLOW = re.compile(r"^pytestmark = .*\bpytest\.mark\.slow\b", re.MULTILINE)
ALL_WAIT = re.compile(r"^pytestmark = .*\bpytest\.mark\.(ray|browser)\b", re.MULTILINE)
SOME_WAIT = re.compile(r"^(pytestmark = .*|@)pytest\.mark\.(ray|browser)\b", re.MULTILINE)
#: Marks of `make test`: tests that mostly wait for other processes, and those beside which they run.
WAITING, OTHERS = "ray or browser", "not ray and not browser"


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not import a file whose tests are all left out: some bring libraries that nobody else needs."""
    marks = config.option.markexpr
    if collection_path.suffix != ".py" or marks not in (WAITING, OTHERS, "not slow and not ray"):
        return None
    text = collection_path.read_text()
    if marks == WAITING:
        return None if SOME_WAIT.search(text) else True
    return True if ALL_WAIT.search(text) or ("slow" in marks and ALL_SLOW.search(text)) else None


#: Files that take minutes, begun first: at the end one of them alone would leave the other cores idle.
LONGEST_FIRST = (
    "tests/docs/test_documents.py",
    "tests/extractors/test_gpu_check.py",
    "tests/service/test_openapi.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def place(item: pytest.Item) -> int:
        return next((i for i, path in enumerate(LONGEST_FIRST) if item.nodeid.startswith(path)), len(LONGEST_FIRST))

    items.sort(key=place)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """The garbage collector never looks through what is imported now, and through the rest seldom."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.set_threshold(7000, 10, 30)
        gc.enable()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish() -> None:
    """Look for errors in what is let go once; pytest looks five times, a second each after thousands of tests."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real slides, tiles and weights, where they are at hand."""
    folder = Path(os.environ.get("EMBEDSTORE_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no shared data at {folder}: set EMBEDSTORE_DATA")
    return folder


@pytest.fixture(scope="session")
def _object_store() -> Iterator[ObjectStore]:
    if missing := [name for name in ("moto", "flask", "flask_cors") if importlib.util.find_spec(name) is None]:
        pytest.skip(f"no object store without {', '.join(missing)}: pip install 'embedstore[dev]'")
    with ObjectStore() as server:
        yield server


@pytest.fixture
def object_store(_object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectStore]:
    """An S3 server on the loopback (tests/object_store.py), with the environment that leads to it."""
    for name, value in _object_store.environment.items():
        monkeypatch.setenv(name, value)
    yield _object_store
    _object_store.fail()


@pytest.fixture
def bucket(object_store: ObjectStore) -> str:
    """The URI of a new bucket of the object store."""
    return object_store.make_bucket(f"bucket-{secrets.token_hex(4)}")


#: Memory of this process above which compiled programs are dropped, bytes; raised where they are not what fills it.
_limit_bytes = 1.4e9
_PROCESS = psutil.Process()
GROWTH_BYTES = 4e8


@pytest.fixture(autouse=True)
def _programs_are_let_go() -> Iterator[None]:
    """Drop the programs that JAX compiled once they fill memory (or maps, of which Linux gives a process 65,530).

    What is needed again comes from the cache on disk.
    """
    global _limit_bytes
    yield
    if "jax" in sys.modules and _PROCESS.memory_info().rss > _limit_bytes:
        sys.modules["jax"].clear_caches()
        gc.collect()
        if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
            trim(0)  # glibc keeps what was freed
        _limit_bytes = max(_limit_bytes, _PROCESS.memory_info().rss + GROWTH_BYTES)


@pytest.fixture(autouse=True)
def _offline(request: pytest.FixtureRequest, _programs_are_let_go: None, monkeypatch: pytest.MonkeyPatch):
    """No network in any test, and no Ray in one that is not marked for it.

    Memory is measured after `monkeypatch` is undone: a test may have replaced `open`.
    """
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    if request.node.get_closest_marker("ray"):
        yield
        return
    pytest_socket.disable_socket(allow_unix_socket=True)
    yield
    pytest_socket.enable_socket()
