"""`embedstore search` as it is typed."""

import csv
import json
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from cli.main import app
from embedstore.errors import (
    ConfigError,
    ExportError,
    ExtractorError,
    QueryError,
    SlideNotInStoreError,
    TileNotFoundError,
    VectorError,
)
from embedstore.extractors import ExtractorConfig, load_extractor
from embedstore.store import Collection, Label, Store
from tests.search.planted import DIM, EDGE, RECORD, noise, plant
from tests.search.queries.query_scene import add_slide, image_collection
from tests.store.predicted import facts, predict, two

#: Two slides of P0, one each of P1 and P2, and a folder of ready-made tiles whose patient nobody knows.
SLIDES = {name: noise(12, seed) for seed, name in enumerate(("a.svs", "b.svs", "c.svs", "o'd.svs", "folder"))}
PATIENTS = {"a.svs": "P0", "b.svs": "P0", "c.svs": "P1", "o'd.svs": "P2"}


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Collection]:
    """Tiles 0 to 3 of a.svs are `lesion: tumour`, and those of c.svs from 6 on have p_tumour above a half."""
    store, collection = plant(tmp_path_factory.mktemp("s"), SLIDES, patients=PATIENTS, named=frozenset({"folder"}))
    point = {"task": "lesion", "kind": "point", "author": "ann", "y": 10}
    store.labels.record(
        [Label(label="tumour", slide_id="a.svs", x=i * EDGE + 10, **point) for i in range(4)]
        + [Label(label="stroma", slide_id="c.svs", x=10, **point)]
    )
    predict(store, facts(head="lesion-linear"), {"c.svs": two([i / 11 for i in range(12)])})
    return store, collection


@pytest.fixture
def store(planted: tuple[Store, Collection]) -> Store:
    return planted[0]


@pytest.fixture(scope="module")
def tiles(planted: tuple[Store, Collection]) -> list[dict[str, Any]]:
    """All tiles with their vectors, in the order of SLIDES."""
    return planted[1].tiles().to_pylist()


def search(store: Store, *args: object) -> Result:
    """Run it; an error that is not of usage comes out as it is."""
    result = CliRunner().invoke(app, ["search", *map(str, args), "--store", store.uri])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def found(store: Store, *args: object) -> list[dict[str, Any]]:
    result = search(store, *args, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)["hits"]


def ids(hits: list[dict[str, Any]]) -> list[int]:
    return [hit["tile_id"] for hit in hits]


def nearest(tiles: list[dict[str, Any]], vector: Any, k: int) -> list[int]:
    """By NumPy, over those tiles."""
    rows = np.array([tile["vector"] for tile in tiles], np.float64)
    asked = np.asarray(vector, np.float64)
    distance = 1 - rows @ asked / np.linalg.norm(rows, axis=1) / np.linalg.norm(asked)
    return [tiles[i]["tile_id"] for i in np.argsort(distance, kind="stable")[:k]]


# -- what is found --------------------------------------------------------------------------


def test_search_by_a_tile_id_of_either_sign(store: Store, tiles):
    for tile in (next(t for t in tiles if t["tile_id"] < 0), next(t for t in tiles if t["tile_id"] > 0)):
        others = [t for t in tiles if t is not tile]
        assert ids(found(store, tile["tile_id"], "-k", 7)) == nearest(others, tile["vector"], 7)


def test_what_json_holds(store: Store, tiles):
    tile = tiles[3]
    shown = json.loads(search(store, tile["tile_id"], "-k", 3, "--columns", "kind, kind,", "--json").stdout)
    assert list(shown) == ["collection", "query", "note", "hits", "files"]
    assert shown["collection"] == "toy" and shown["files"] == [] and shown["note"] == ""
    assert shown["query"] == f"tile {tile['tile_id']} of slide a.svs at {3 * EDGE}, 0"
    by_id = {t["tile_id"]: t for t in tiles}
    for rank, hit in enumerate(shown["hits"], start=1):
        columns = ["rank", "distance", "tile_id", "slide_id", "patient", "x", "y", "edge_l0", "name", "tissue", "kind"]
        assert list(hit) == columns and hit["rank"] == rank
        row = by_id[hit["tile_id"]]
        assert {name: hit[name] for name in ("slide_id", "x", "y", "edge_l0", "name")} == {
            name: row[name] for name in ("slide_id", "x", "y", "edge_l0", "name")
        }
        assert hit["patient"] == PATIENTS.get(hit["slide_id"])
        assert hit["kind"] == ("tiles" if hit["slide_id"] == "folder" else "wsi")


def test_the_table_is_on_stdout_and_the_talk_on_stderr(store: Store, tiles):
    shown = search(store, tiles[0]["tile_id"], "-k", 60)
    assert [line.split()[0] for line in shown.stdout.splitlines()] == ["rank", *map(str, range(1, 60))]
    assert "59 tiles of 5 slides of 3 patients, nearest to tile" in shown.stderr
    assert "note: 59 of 60 neighbours were found: no more tiles pass" in shown.stderr


def test_by_a_place_and_by_a_region(store: Store, tiles):
    one = found(store, "--slide", "a.svs", "--at", EDGE + 5, EDGE - 1, "-k", 4)
    assert ids(one) == ids(found(store, tiles[1]["tile_id"], "-k", 4))
    own, rest = tiles[:3], tiles[3:]
    mean = np.mean([np.array(t["vector"]) / np.linalg.norm(np.float64(t["vector"])) for t in own], axis=0)
    assert ids(found(store, "--slide", "a.svs", "--region", 0, 0, 3 * EDGE, EDGE)) == nearest(rest, mean, 10)


@pytest.mark.parametrize("name", ["v.npy", "v.csv", "v.json"])
def test_by_a_vector(store: Store, tiles, tmp_path: Path, name: str):
    vector = np.random.default_rng(5).normal(size=DIM)
    if name.endswith("npy"):
        np.save(tmp_path / name, vector)
    else:
        (tmp_path / name).write_text(json.dumps(vector.tolist()).strip("[]" if name.endswith("csv") else ""))
    assert ids(found(store, "--vector", tmp_path / name)) == nearest(tiles, vector, 10)


def test_by_a_label(store: Store, tiles):
    mean = np.mean([np.array(t["vector"]) / np.linalg.norm(np.float64(t["vector"])) for t in tiles[:4]], axis=0)
    assert ids(found(store, "--task", "lesion", "--label", "tumour")) == nearest(tiles[4:], mean, 10)


def test_negatives_of_either_sign_are_left_out_and_moved_away_from(store: Store, tiles):
    query, *others = (t for t in tiles if t["slide_id"] == "c.svs")
    away = [next(t for t in others if t["tile_id"] < 0), next(t for t in others if t["tile_id"] > 0)]
    unit = {t["tile_id"]: np.float64(t["vector"]) / np.linalg.norm(np.float64(t["vector"])) for t in tiles}
    vector = unit[query["tile_id"]] - 0.8 * np.mean([unit[t["tile_id"]] for t in away], axis=0)
    rest = [t for t in tiles if t not in (query, *away)]
    nots = [word for t in away for word in ("--not", t["tile_id"])]
    assert ids(found(store, query["tile_id"], *nots, "--not-weight", 0.8)) == nearest(rest, vector, 10)


def test_the_query_moves_to_the_mean_of_further_tiles(store: Store, tiles):
    like = (tiles[0], tiles[7], tiles[9])
    mean = sum(np.float64(t["vector"]) / np.linalg.norm(np.float64(t["vector"])) for t in like)
    more = [word for t in like[1:] for word in ("--more-like", t["tile_id"])]
    assert ids(found(store, like[0]["tile_id"], *more)) == nearest([t for t in tiles if t not in like], mean, 10)


# -- what is left out -----------------------------------------------------------------------


def test_the_same_slide_and_the_same_patient_are_left_out(store: Store, tiles):
    tile = tiles[0]
    for same, gone in (("slide", {"a.svs"}), ("patient", {"a.svs", "b.svs"})):
        rest = [t for t in tiles if t["slide_id"] not in gone]
        hits = found(store, tile["tile_id"], "-k", 60, "--exclude-same", same)
        assert ids(hits) == nearest(rest, tile["vector"], 60)


def test_an_unknown_patient_cannot_be_left_out(store: Store, tiles):
    with pytest.raises(QueryError, match="the patient of slide 'folder' is not known"):
        search(store, tiles[-1]["tile_id"], "--exclude-same", "patient")


def test_at_most_so_many_of_a_slide(store: Store, tiles):
    hits = found(store, tiles[0]["tile_id"], "-k", 10, "--per-slide", 2)
    slides = [hit["slide_id"] for hit in hits]
    assert sorted(slides) == sorted([*SLIDES] * 2)
    for name in SLIDES:
        theirs = [t for t in tiles if t["slide_id"] == name and t is not tiles[0]]
        assert [h["tile_id"] for h in hits if h["slide_id"] == name] == nearest(theirs, tiles[0]["vector"], 2)


@pytest.mark.parametrize(
    ("where", "passes"),
    [
        ("label.lesion = 'tumour'", [("a.svs", i) for i in range(4)]),
        ("label.lesion IS NOT NULL AND slide_id <> 'a.svs'", [("c.svs", 0)]),
        ('"lesion-linear".p_tumour > 0.5', [("c.svs", i) for i in range(6, 12)]),
        ("\"lesion-linear\".label = 'tumour' AND x >= 1024", [("c.svs", i) for i in (6, 7, 10, 11)]),
        ("patient = 'P2' AND y > 0", [("o'd.svs", i) for i in range(8, 12)]),
        ("slide_id = 'o''d.svs' AND label.lesion IS NULL AND x = 0", [("o'd.svs", 0), ("o'd.svs", 8)]),
    ],
)
def test_only_tiles_that_pass_the_filter_are_returned(store: Store, tiles, where: str, passes: list[tuple[str, int]]):
    row = {name: [t["tile_id"] for t in tiles if t["slide_id"] == name] for name in SLIDES}
    query = next(t for t in tiles if t["slide_id"] == "b.svs")
    hits = found(store, query["tile_id"], "-k", 60, "--where", where)
    assert sorted(ids(hits)) == sorted(row[slide][i] for slide, i in passes)
    kept = [t for t in tiles if t["tile_id"] in ids(hits)]
    assert ids(hits) == nearest(kept, query["vector"], 60)


def test_nothing_passes(store: Store, tiles):
    shown = search(store, tiles[0]["tile_id"], "--where", "x > 1000000")
    assert (shown.exit_code, shown.stdout) == (0, "")
    assert "nothing found, nearest to tile" in shown.stderr and "no more tiles pass" in shown.stderr


def test_columns_are_listed(store: Store):
    columns = json.loads(search(store, "--list-columns", "--json").stdout)
    assert (columns["tissue"], columns["patient"], columns["label.lesion"]) == ("tile", "slide", "label")
    assert columns['"lesion-linear".p_tumour'] == "head lesion-linear"
    lines = [line.split(None, 1) for line in search(store, "--list-columns").stdout.splitlines()]
    assert lines == [["column", "of"], *([name, origin] for name, origin in columns.items())]


# -- what is written ------------------------------------------------------------------------


def test_files_hold_the_neighbours(store: Store, tiles, tmp_path: Path):
    """The slides are not at hand, so that pictures show grey cards."""
    outputs = {
        "--montage": tmp_path / "like.png", "--html": tmp_path / "like.html", "--geojson": tmp_path / "qupath",
        "--table": tmp_path / "like.parquet",
    }  # fmt: skip
    where = "slide_id IN ('b.svs', 'c.svs')"
    args = [word for pair in outputs.items() for word in pair]
    shown = json.loads(search(store, tiles[0]["tile_id"], "-k", 6, "--where", where, *args, "--json").stdout)
    hits = shown["hits"]
    assert set(shown["files"]) == {
        str(path) for path in (*(tmp_path / "qupath").iterdir(), *(p for p in outputs.values() if p.is_file()))
    }
    assert pq.read_table(tmp_path / "like.parquet").to_pylist() == [
        {**hit, "distance": pytest.approx(hit["distance"])} for hit in hits
    ]
    with Image.open(tmp_path / "like.png") as sheet:
        assert sheet.width > 192 and sheet.height > 192
    page = (tmp_path / "like.html").read_text()
    assert page.count("<li>") == 7 and not re.search(r"(src|href)=\"?http", page)  # the query, and six
    drawn = []
    for path in (tmp_path / "qupath").iterdir():
        for each in json.loads(path.read_text())["features"]:
            x, y = np.min(each["geometry"]["coordinates"][0], axis=0).tolist()
            drawn.append((each["properties"]["measurements"]["rank"], path.name.removesuffix(".geojson"), x, y))
    assert sorted(drawn) == [(hit["rank"], hit["slide_id"], hit["x"], hit["y"]) for hit in hits]


def test_a_table_as_csv_and_as_json(store: Store, tiles, tmp_path: Path):
    for name in ("like.csv", "like.json"):
        shown = search(store, tiles[0]["tile_id"], "-k", 4, "--table", tmp_path / name)
        assert f"wrote {tmp_path / name}" in shown.stderr
    with (tmp_path / "like.csv").open(newline="") as file:
        of_csv = [int(row["tile_id"]) for row in csv.DictReader(file)]
    of_json = [row["tile_id"] for row in json.loads((tmp_path / "like.json").read_text())]
    assert of_csv == of_json == ids(found(store, tiles[0]["tile_id"], "-k", 4))


def test_where_nothing_can_be_written(store: Store, tiles, tmp_path: Path):
    tile = tiles[0]["tile_id"]
    for option, path, said in (
        ("--table", tmp_path / "a.txt", "ends in '.txt'; expected .csv, .parquet, .json"),
        ("--montage", tmp_path / "a.doc", "ends in '.doc'; expected a picture"),
        ("--html", tmp_path, "it is a folder"),
        ("--geojson", tmp_path / "a.geojson", "is one file, and the tiles found are of"),
    ):
        with pytest.raises(ExportError, match=re.escape(said)):
            search(store, tile, option, path)
    assert list(tmp_path.iterdir()) == []


# -- slides ---------------------------------------------------------------------------------


def test_many_queries_at_once(store: Store, tiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    asked = tmp_path / "asked.csv"
    asked.write_text("tile_id\n" + "".join(f"{tile['tile_id']}\n" for tile in tiles[:3]))
    done = search(store, "--queries", asked, "-k", 2, "--exclude-same", "slide", "--table", tmp_path / "found.csv")
    assert done.exit_code == 0 and "6 neighbours" in done.stderr
    rows = list(csv.DictReader((tmp_path / "found.csv").read_text().splitlines()))
    assert [row["query"] for row in rows] == ["0", "0", "1", "1", "2", "2"]
    others = [tile for tile in tiles if tile["slide_id"] != tiles[0]["slide_id"]]
    assert [int(row["tile_id"]) for row in rows[:2]] == nearest(others, tiles[0]["vector"], 2)
    monkeypatch.setenv("EMBEDSTORE_CACHE", str(tmp_path / "cache"))
    done = search(store, "--queries", asked, "--table", tmp_path / "found.parquet", "--json", "--warm")
    assert list((tmp_path / "cache").glob("hot/*/*/vectors.f16"))
    assert json.loads(done.stdout) == {
        "collection": "toy", "rows": 30, "files": [str(tmp_path / "found.parquet")],
    }  # fmt: skip
    with pytest.raises(ExportError, match=r"found.xlsx ends in"):
        search(store, "--queries", asked, "--table", tmp_path / "found.xlsx")


def test_slides_like_a_slide(store: Store):
    shown = json.loads(search(store, "--slide", "a.svs", "-k", 3, "--json").stdout)
    assert (shown["collection"], shown["slide"]) == ("toy", "a.svs")
    assert [row["rank"] for row in shown["slides"]] == [1, 2, 3]
    assert "a.svs" not in [row["slide_id"] for row in shown["slides"]]
    table = search(store, "--slide", "a.svs", "--exclude-same", "patient").stdout.splitlines()
    assert table[0].split() == ["rank", "slide_id", "patient", "distance", "coverage", "tiles"]
    assert sorted(line.split()[1] for line in table[1:]) == ["c.svs", "folder", "o'd.svs"]
    only = json.loads(search(store, "--slide", "a.svs", "--where", "patient = 'P1'", "--json").stdout)
    assert [row["slide_id"] for row in only["slides"]] == ["c.svs"]


def test_no_slide_passes(store: Store):
    shown = search(store, "--slide", "a.svs", "--where", "patient = 'nobody'")
    assert (shown.exit_code, shown.stdout) == (0, "")
    assert "no other slide of collection toy passes" in shown.stderr


# -- usage ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("", "name what to search by: TILE, --at, --region, --text, --image, --vector, --label; --slide alone"),
        ("5 --vector v.npy", "search by one of these only; TILE and --vector were given"),
        ("--at 5 5", "--at is a place on a slide; name the slide with --slide"),
        ("--region 5 5 9 9", "--region is a place on a slide"),
        ("--slide a.svs --at 5 5 --region 5 5 9 9", "search by one of these only; --at and --region were given"),
        ("--slide a.svs 5", 'TILE was given; to find tiles of one slide only, add --where "slide_id = \'a.svs\'"'),
        ("--task lesion", "--task and --label belong together"),
        ("--label tumour", "--task and --label belong together"),
        ("5 --mpp 0.5", "--mpp goes with --image"),
        ("5 --trust-extractor", "--trust-extractor goes with --image"),
        ("5 --not-weight 0.5", "--not-weight goes with --not; give both"),
        ("--slide a.svs --montage x.png", "--slide alone finds slides and takes no --montage"),
        ("--slide a.svs --not 5 --diverse 0.5", "takes no --not, --diverse; add --at or --region"),
        ("--slide a.svs --exact --per-slide 2", "takes no --per-slide, --exact"),
        ("5 --exclude-same stain", "'stain' is not one of 'slide', 'patient'"),
        ("5 --diverse 2", "2.0 is not in the range 0<=x<=1"),
        ("5 --per-slide 0", "0 is not in the range x>=1"),
        ("five", "'five' is not a tile id"),
        ("--queries q.npy", "--queries finds many rows; name a file for them with --table"),
        ("5 --warm", "--warm goes with --queries; give both"),
        ("--queries q.npy --table t.csv 5", "search by --queries or by one tile, not by both"),
        ("--queries q.npy --table t.csv --montage x.png --per-slide 2", "--queries takes no --per-slide, --montage"),
        ("5 --not five", "'five' is not a tile id"),
        ("--probs 3", "--probes"),
        ("-z", "No such option"),
    ],
)  # fmt: skip
def test_wrong_usage_is_reported(store: Store, words: str, said: str):
    result = search(store, *shlex.split(words))
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.split()), result.stderr


def test_an_unusable_query_is_reported(store: Store, tiles, tmp_path: Path):
    np.save(tmp_path / "short.npy", np.ones(DIM - 1))
    tile = tiles[0]["tile_id"]
    for args, error, said in (
        ((tile, "-k", 0), ConfigError, "k is 0; expected 1 or more"),
        (("--slide", "a.svs", "-k", 0), ConfigError, "k is 0; expected 1 or more"),
        ((tile, "--where", "stian = 'HE'"), ConfigError, "no column 'stian' .* tile_id, slide_id, x, .* label.lesion"),
        ((tile, "--columns", "stian"), ConfigError, "no column 'stian' to show; they have path, kind"),
        (("--vector", tmp_path / "short.npy"), VectorError, f"has vectors of {DIM} values; .* shape \\({DIM - 1},\\)"),
        ((12345,), TileNotFoundError, "no tile 12345 in"),
        ((-12345,), TileNotFoundError, "no tile -12345 in"),
        ((1 << 64,), TileNotFoundError, "signed 64-bit"),
        ((tile, "--not", 12345), TileNotFoundError, "no tile 12345 in"),
        (("--slide", "a.svs", "--at", 99999, 5), TileNotFoundError, "has no tile at 99999, 5 .* its 12 tiles lie in"),
        (("--slide", "x.svs"), SlideNotInStoreError, "no slide 'x.svs' in "),
        (("--vector", tmp_path / "none.npy", "--exclude-same", "slide"), QueryError, "cannot be read: No such file"),
    ):
        with pytest.raises(error, match=said):
            search(store, *args)


def test_an_empty_collection_is_reported(tmp_path: Path):
    store = Store.create(tmp_path / "store")
    Collection.create(store.uri, "toy", RECORD)
    np.save(tmp_path / "v.npy", np.ones(DIM))
    with pytest.raises(QueryError, match="collection 'toy' has no tiles; `embedstore ingest` adds them"):
        search(store, "--vector", tmp_path / "v.npy")


# -- images ---------------------------------------------------------------------------------


def test_by_an_image(tmp_path: Path):
    config = ExtractorConfig(ref="colour-12", tile_px=32)
    extractor = load_extractor(config, device="cpu")
    store, collection = image_collection(tmp_path, extractor, config)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8) // np.array([1, 2, 3]).reshape(
        3, 1, 1, 1
    )
    add_slide(store, collection, "a.svs", extractor.embed(pixels.astype(np.uint8)))
    Image.fromarray(pixels[2].astype(np.uint8)).save(tmp_path / "tile.png")
    best = found(store, "--image", tmp_path / "tile.png", "-k", 1)[0]
    assert (best["x"], best["distance"]) == (1024, pytest.approx(0, abs=1e-6))
    Image.new("RGB", (31, 40)).save(tmp_path / "small.png")
    with pytest.raises(QueryError, match=r"small.png has 31×40 px; expected 32×32 or more"):
        search(store, "--image", tmp_path / "small.png")


CUSTOM = """
import numpy as np
from embedstore.extractors import Extractor

class Mean(Extractor):
    name, dim, tile_px, mpp, digest = "mean", 3, 32, 0.5, "sha256:1"

    def embed(self, pixels):
        return pixels.mean(axis=(1, 2)).astype(np.float16)
"""


@pytest.mark.slow
def test_a_function_that_the_store_names_is_run_only_where_it_is_trusted(tmp_path: Path):
    code = tmp_path / "toy_cli.py"
    code.write_text(CUSTOM)
    config = ExtractorConfig(ref=f"{code}:Mean")
    store, collection = image_collection(tmp_path, load_extractor(config, device="cpu"), config)
    add_slide(store, collection, "a.svs", np.array([[200, 1, 1], [1, 200, 1], [1, 1, 200]]))
    Image.new("RGB", (32, 32), (0, 180, 0)).save(tmp_path / "green.png")
    with pytest.raises(ExtractorError, match="pass --trust-extractor"):
        search(store, "--image", tmp_path / "green.png")
    assert found(store, "--image", tmp_path / "green.png", "--trust-extractor", "-k", 1)[0]["x"] == 512
