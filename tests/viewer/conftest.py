"""The page in a browser, against a server of its own process: Debian's Chromium, or Chrome where it is installed."""

import _socket
import contextlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from embedstore import api
from tests.conftest import REPOSITORY
from tests.jax_programs import own_programs

sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright (the extra `dev`)")

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
#: As root, without a GPU, and without asking anything of the network.
ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync",
)  # fmt: skip
SERVING = re.compile(r" at (http://\S+)")
TASK, CLASS, HEAD = "dense-nuclei", "dense nuclei", "dense-nuclei"


class Server:
    """`embedstore serve` in a process of its own, which a test may stop and start again at the same address."""

    def __init__(self, store_uri: str, log: Path, *arguments: str):
        self._command = [sys.executable, "-m", "cli.main", "serve", "--store", store_uri, *arguments]
        self._log = log
        # Bound, and not listened on: nobody else gets the port while the server is away. Python's own class of sockets
        # is closed to tests.
        self._kept = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
        self._kept.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
        self._kept.bind(("127.0.0.1", 0))
        self._port = str(self._kept.getsockname()[1])
        self.url = ""
        self.start()

    def start(self) -> None:
        with self._log.open("a") as log:
            log.write("\n")
        seen = self._log.stat().st_size
        with self._log.open("a") as log:
            self._process = subprocess.Popen(
                [*self._command, "--port", self._port], cwd=REPOSITORY, stdout=log, stderr=log,
                env=os.environ | {"PYTHONUNBUFFERED": "1"},
            )  # fmt: skip
        while not (match := SERVING.search(self._log.read_text()[seen:])):
            try:
                self._process.wait(0.05)
            except subprocess.TimeoutExpired:
                continue
            raise RuntimeError(f"the service did not start: {self._log.read_text()[seen:]}")
        self.url = match[1]

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(300)

    def close(self) -> None:
        """End it, and let its address go."""
        self.stop()
        self._kept.close()


@pytest.fixture(scope="session")
def page_store(tmp_path_factory: pytest.TempPathFactory) -> api.Store:
    """Six synthetic slides of three patients with labels, and a head that has predicted; for tests that only look."""
    folder = tmp_path_factory.mktemp("page")
    slides = folder / "slides"
    api.synthesize_slides(slides, slides=6, size_px=(1800, 1400))
    store = api.create(folder / "store")
    store.ingest([slides / "slides.csv"], extractors="stain-texture", execution={"in_process": True})
    store.labels.read(sorted(slides.glob("*.geojson")), task=TASK, only=(CLASS,), negative="other", author="demo")
    head = store.fit_head(TASK, positive=CLASS, split={"folds": 3}, name=HEAD)
    head.predict()
    return store


@pytest.fixture
def own_store(page_store: api.Store, tmp_path: Path) -> api.Store:
    """A copy of `page_store`, for a test that changes it."""
    return api.open(shutil.copytree(page_store.uri, tmp_path / "store"))


@pytest.fixture(scope="session")
def _environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        cache = tmp_path_factory.mktemp("cache")
        patch.setenv("EMBEDSTORE_CACHE", str(cache))
        patch.setenv("JAX_COMPILATION_CACHE_DIR", own_programs(cache))
        yield


@contextlib.contextmanager
def serving(store: api.Store, folder: Path, *arguments: str) -> Iterator[Server]:
    """A server of a store, whose log is kept in a folder; ended at the end."""
    with contextlib.closing(Server(store.uri, folder / "server.log", *arguments)) as server:
        yield server


@pytest.fixture
def serve_store(_environment: None, tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Starts a server of a store for one test: `serve_store(store, "--pseudonyms")`. It takes 1 GB with its jobs."""
    with contextlib.ExitStack() as stack:

        def start(store: api.Store, *arguments: str) -> Server:
            return stack.enter_context(serving(store, tmp_path, *arguments))

        yield start


@pytest.fixture(scope="session")
def url(page_store: api.Store, _environment: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where `page_store` is served."""
    with serving(page_store, tmp_path_factory.mktemp("server")) as server:
        yield server.url


@pytest.fixture(scope="module")
def browser() -> Iterator["sync_api.Browser"]:
    """Ends with the tests of a file: while it runs, this thread has an event loop, in which no other can be started."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(f"no browser: expected one of {', '.join(BROWSERS)}")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=list(ARGUMENTS))
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: "sync_api.Browser") -> Iterator[Callable[..., "sync_api.Page"]]:
    """Opens an address of the page in a browser without a past. At the end nothing may have gone wrong in it unseen.

    `open_page(url, size=(1280, 800), dark=False, may_fail="regular expression of what the console may say")`
    """
    with contextlib.ExitStack() as stack:
        said: list[tuple[str, str]] = []

        def open_(
            address: str, *, size: tuple[int, int] = (1280, 800), dark: bool = False, may_fail: str | None = None
        ) -> "sync_api.Page":
            context = browser.new_context(
                viewport={"width": size[0], "height": size[1]}, color_scheme="dark" if dark else "light"
            )
            stack.callback(context.close)
            page = context.new_page()
            page.set_default_timeout(300_000)  # what never comes, on the slowest machine

            def hear(kind: str, text: str) -> None:
                if kind == "error" and not (may_fail and re.search(may_fail, text)):
                    said.append((kind, text))

            page.on("console", lambda message: hear(message.type, f"{message.text} {message.location}"))
            page.on("pageerror", lambda error: hear("error", str(error)))
            page.goto(address)
            return page

        yield open_
        assert not said, said


@pytest.fixture
def screenshot() -> Callable[["sync_api.Page", str], None]:
    """Keeps a picture of a page for whoever looks at the run: under the folder of EMBEDSTORE_SCREENSHOTS, if set."""

    def take(page: "sync_api.Page", name: str) -> None:
        if folder := os.environ.get("EMBEDSTORE_SCREENSHOTS"):
            Path(folder).mkdir(parents=True, exist_ok=True)
            page.screenshot(path=Path(folder) / f"{name}.png")

    return take
