"""Search after and during ingest, through the command line: whole slides are found, or nothing of them."""

import json
import multiprocessing
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from cli.main import app
from embedstore.errors import SlideNotInStoreError, TileNotFoundError
from embedstore.search import Query, SearchConfig, search
from embedstore.slides import open_slide
from embedstore.store import Store, index_facts
from synthetic_slides import write_slide
from tests.slides.drawings import tissue_picture, write_tiff

from .conftest import embedstore_process

pytestmark = pytest.mark.slow


# -- one after the other --------------------------------------------------------------------


def run(*args: object, code: int = 0) -> Any:
    """Run a command in this process, which has imported all of it already; its JSON, or else what it printed."""
    result = CliRunner().invoke(app, list(map(str, args)))
    assert result.exit_code == code, (result.stderr, result.exception)
    return json.loads(result.stdout) if "--json" in args else result.stdout


@pytest.fixture(scope="module")
def ingested(slides: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = tmp_path_factory.mktemp("searched") / "store"
    found = ("ingest", slides / "slides.csv", "-s", store, "-e", "colour-12", "--in-process", "--json")
    assert run(*found, code=3)["done"] == 3  # one file is torn
    return store


def cut(slides: Path, tile: dict[str, Any], to: Path) -> Path:
    """The pixels of a tile, as somebody would export them."""
    with open_slide(str(slides / tile["slide_id"])) as slide:
        edge = tile["edge_l0"]
        Image.fromarray(slide.read_region((tile["x"], tile["y"]), 0, (edge, edge))).save(to)
    return to


def test_a_picture_of_a_tile_finds_that_tile_first(ingested: Path, slides: Path, tmp_path: Path):
    tiles = run("ls", "-s", ingested, "--tiles", 100, "--json")
    for tile in (tiles[0], tiles[len(tiles) // 2], tiles[-1]):
        picture = cut(slides, tile, tmp_path / "tile.png")
        sheet = tmp_path / "like.png"
        found = run("search", "-s", ingested, "--image", picture, "-k", 5, "--montage", sheet, "--json")
        best, *others = found["hits"]
        assert (best["tile_id"], best["distance"]) == (tile["tile_id"], pytest.approx(0, abs=1e-5))
        assert len(others) == 4 and all(hit["distance"] >= best["distance"] for hit in others)
    with Image.open(sheet) as drawn:
        seen = np.asarray(drawn.convert("RGB"))
    shown = cv2.resize(cv2.imread(str(picture))[..., ::-1], (192, 192), interpolation=cv2.INTER_AREA)
    match = cv2.matchTemplate(seen, np.ascontiguousarray(shown), cv2.TM_SQDIFF_NORMED)
    assert (match < 0.01).sum() >= 2  # the query, and the tile that is the same


def test_a_patient_who_is_removed_is_out_of_results_at_once(ingested: Path, slides: Path, tmp_path: Path):
    store = tmp_path / "store"
    shutil.copytree(ingested, store)
    assert run("index", "-s", store, "--kind", "ivf_rq", "--json")[0]["kind"] != "flat"
    tile = run("ls", "-s", store, "--tiles", 1, "--json")[0]
    ask = ("search", "-s", store, "--image", cut(slides, tile, tmp_path / "tile.png"), "-k", 500, "--json")
    assert {hit["patient"] for hit in run(*ask)["hits"]} == {"P0", "P1"}
    rows = {slide: n for slide, n in Store.open(store).collection().slides().items() if slide == "s2.svs"}
    run("rm", "-s", store, "--patient", "P0", "--yes")
    for tidy in (None, ("compact", "-s", store, "--keep-hours", 0), ("index", "-s", store)):
        if tidy is not None:
            run(*tidy)
        left = run(*ask)["hits"]
        assert Counter(hit["slide_id"] for hit in left) == rows
        assert {hit["patient"] for hit in left} == {"P1"}
    files = [path for path in store.rglob("*") if path.is_file()]
    assert files and not [path for path in files if b"s0.svs" in path.read_bytes()]
    with pytest.raises(TileNotFoundError, match=f"no tile {tile['tile_id']}"):
        CliRunner().invoke(app, ["search", str(tile["tile_id"]), "-s", str(store)], catch_exceptions=False)
    with pytest.raises(SlideNotInStoreError, match=f"no slide '{tile['slide_id']}'"):
        CliRunner().invoke(app, ["search", "--slide", tile["slide_id"], "-s", str(store)], catch_exceptions=False)


def test_a_slide_that_was_encoded_again_under_another_name_is_found(tmp_path: Path):
    folder = tmp_path / "slides"
    for seed in range(3):
        write_slide(folder / f"s{seed}.svs", size_px=(1280, 1024), seed=seed)
    with open_slide(str(folder / "s0.svs")) as slide:
        picture = slide.read_region((0, 0), 0, slide.size_l0)
    write_tiff(folder / "copy.svs", picture, mpp=0.5, factors=(1, 2))
    listed = [f"{name}.svs,P-{name}" for name in ("s0", "s1", "s2", "copy")]
    (folder / "slides.csv").write_text("\n".join(["path,patient", *listed]) + "\n")
    store = tmp_path / "store"
    run("ingest", folder / "slides.csv", "-s", store, "-e", "stain-texture", "--in-process", "--json")
    report = run("audit", "-s", store, "--leaks", "--duplicates", "--json", code=3)
    (pair,) = report["duplicates"]["pairs"]
    assert {pair["slide_id"], pair["other"]} == {"s0.svs", "copy.svs"}
    assert pair["share"] > 0.8 and not pair["same_file"]  # other bytes, the same tissue
    between = max(report["leaks"]["between"], key=lambda entry: entry["tiles"])
    assert {between["side"], between["other_side"]} == {"patient P-s0", "patient P-copy"}


# -- while a run ingests --------------------------------------------------------------------

SLIDES = 24
EXTRACTOR = """
import os
import time
from pathlib import Path

import numpy as np

from embedstore.extractors import Extractor


class Means(Extractor):
    \"\"\"Of sixteen parts of a tile; where somebody watches, none before there was a search since the last.\"\"\"

    name, dim, tile_px, mpp, digest = "means", 16, 32, 0.5, "sha256:means"
    looks = os.environ.get("LOOKS")
    seen = 0

    def embed(self, pixels):
        until = time.monotonic() + 10
        while self.looks and os.stat(self.looks).st_size <= self.seen and time.monotonic() < until:
            time.sleep(0.005)
        self.seen = os.stat(self.looks).st_size if self.looks else 0
        parts = pixels.reshape(len(pixels), 4, 8, 4, 8, 3).mean(axis=(2, 4))
        return (parts @ [0.5, 0.3, 0.2]).reshape(len(pixels), 16).astype(np.float16) - 128
"""
#: Commits of few slides, and an index that is kept up after each two of them.
RUN = "[run]\ngroup_slides = 2\ngroup_s = 0.1\ncompact_every = 2\nbatch_tiles = 64\n"
EVERY = 1 << 14


def watch(uri: str, looks: Path, stop: Callable[[], bool]) -> list[dict[str, int]]:
    """Ask on and on: for all tiles, for the nearest, and with filters; {slide: tiles} each time that all were asked.

    Args:
        looks: A file that becomes a byte longer each time.
    """
    store = Store.open(uri)
    rng = np.random.default_rng(threading.get_ident() % 1000)
    seen = []
    while not stop():
        collection = store.collection()
        vector = rng.normal(size=collection.dim).astype(np.float32)
        query = Query(vector=vector / np.linalg.norm(vector), title="a vector", slides=("s00.svs",))
        every = search(store, collection, query, SearchConfig(k=EVERY)).to_pylist()
        ids = [hit["tile_id"] for hit in every]
        assert len(ids) == len(set(ids)), "a tile was found twice"
        assert all(hit["patient"] == f"P{int(hit['slide_id'][1:3]) % 5}" for hit in every), "a slide without metadata"
        seen.append(Counter(hit["slide_id"] for hit in every))
        near = search(store, collection, query, SearchConfig(k=10)).to_pylist()
        assert len(near) == 10
        other = search(store, collection, query, SearchConfig(k=EVERY, exclude_same="patient", where="patient <> 'P1'"))
        assert not {hit["patient"] for hit in other} & {"P0", "P1"}, "one who is left out was found"
        seen.append(Counter(hit["slide_id"] for hit in other))
        with looks.open("ab") as file:
            file.write(b"1")
    return seen


def watch_in_a_process(uri: str, looks: Path, ended: Event, answers: "Queue[Any]") -> None:
    try:
        answers.put(watch(uri, looks, ended.is_set))
    except BaseException as error:
        answers.put(repr(error))


def test_whole_slides_or_nothing_from_threads_and_processes_while_a_run_ingests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder, store = tmp_path / "slides", tmp_path / "store"
    folder.mkdir()
    for i in range(SLIDES):
        write_tiff(folder / f"s{i:02d}.svs", tissue_picture(768, 640, seed=i), mpp=0.5, factors=(1, 2))
    listed = [f"s{i:02d}.svs,P{i % 5}" for i in range(SLIDES)]
    (folder / "slides.csv").write_text("\n".join(["path,patient", *listed]) + "\n")
    (tmp_path / "means.py").write_text(EXTRACTOR)
    (tmp_path / "run.toml").write_text(RUN)
    ingest = (
        "ingest", folder / "slides.csv", "-s", store, "-e", f"{tmp_path / 'means.py'}:Means", "--in-process",
        "--config", tmp_path / "run.toml", "--json",
    )  # fmt: skip
    assert run(*ingest, "--limit", 2)["done"] == 2
    run("index", "-s", store, "--kind", "ivf_rq")

    ended, failed = threading.Event(), []
    seen: list[list[dict[str, int]]] = []

    def thread() -> None:
        try:
            seen.append(watch(str(store), looks[0], ended.is_set))
        except BaseException as error:
            failed.append(repr(error))

    spawn = multiprocessing.get_context("spawn")
    process_ended, answers = spawn.Event(), spawn.Queue()
    looks = [tmp_path / f"looks-{number}" for number in range(3)]  # of the threads, and of each process
    for file in looks:
        file.touch()
    processes = [
        spawn.Process(target=watch_in_a_process, args=(str(store), file, process_ended, answers)) for file in looks[1:]
    ]
    threads = [threading.Thread(target=thread) for _ in range(4)]
    for one in (*processes, *threads):
        one.start()
    deadline = time.monotonic() + 300
    while not all(file.stat().st_size for file in looks) and not failed:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    monkeypatch.setenv("LOOKS", str(looks[0]))
    done = embedstore_process(*ingest)
    ended.set()
    process_ended.set()
    for _ in processes:
        answer = answers.get(timeout=300)
        (failed if isinstance(answer, str) else seen).append(answer)
    for one in (*threads, *processes):
        one.join(timeout=300)
    assert failed == []
    assert done.code == 0, done.err
    assert done.json()["done"] == SLIDES - 2
    assert "could not be compacted" not in done.err

    collection = Store.open(store).collection()
    whole = collection.slides()
    assert len(whole) == SLIDES and len(seen) == 6
    for counts in (counts for asked in seen for counts in asked):
        assert counts.items() <= whole.items(), "a part of a slide was seen"
    sizes = {len(counts) for asked in seen for counts in asked[::2]}
    assert len(sizes) >= 4, "the run was over before it was watched"
    facts = index_facts(collection)
    assert (facts.kind, facts.rows) == ("IVF_RQ", len(collection)) and facts.indexed > 0.8 * facts.rows
