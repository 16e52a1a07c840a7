"""Every route is asked by a caller of a project, and with pseudonyms: no answer has a word that they must not see.

A new route is asked by itself: its parameters are given every name that the store knows, real and by pseudonym. What
a body needs stands in BODIES.
"""

import json
import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import pytest
from starlette.testclient import TestClient

from embedstore import api
from embedstore.store import Store
from tests.service import hidden_scene as scene
from tests.service.clients import client_of

#: {path: bodies}; SLIDE and PATIENT stand for each of the names.
BODIES: dict[str, list[Any]] = {
    "/api/collections/{collection}/search": [
        {"query": {"slide_id": "SLIDE", "x": 10, "y": 10}, "k": 50},
        {"query": {"slide_id": "SLIDE", "region": [0, 0, 2048, 512]}, "k": 50, "exclude_same": "patient"},
        {"query": {"vector": [1, 0, 0, 0]}, "k": 50, "columns": ["cohort"]},
        {"query": {"vector": [1, 0, 0, 0]}, "k": 50, "columns": ["diagnosis"]},
        {"query": {"task": "tumour", "label": "yes"}, "k": 50},
        {"query": {"vector": [1, 0, 0, 0]}, "where": "patient = 'PATIENT' OR slide_id = 'SLIDE'", "k": 50},
        {"query": {"vector": [1, 0, 0, 0]}, "where": "patient = 'PATIENT' AND cast(diagnosis as int) > 3", "k": 50},
    ],
    "/api/collections/{collection}/query": [{"slide_id": "SLIDE", "x": 10, "y": 10}],
    "/api/collections/{collection}/suggest": [
        {"n": 50, "task": "tumour", "per_slide": 50},
        {"n": 50, "task": "tumour", "strategy": "nearest-to-marks"},
        {"n": 50, "strategy": "diverse", "where": "patient = 'PATIENT' OR slide_id = 'SLIDE'"},
    ],
    "/api/heads/{head}/suggest": [
        {"n": 50, "strategy": "nearest-to-marks", "label": "yes"},
        {"where": "patient = 'PATIENT' AND cast(diagnosis as int) > 3"},
    ],
    "/api/heads/{head}/mistakes": [{"n": 1000}, {"where": "patient = 'PATIENT' OR slide_id = 'SLIDE'"}],
    "/api/heads": [{"tasks": ["tumour"], "where": "patient = 'PATIENT'"}],
    "/api/heads/{head}/predict": [{"slides": ["SLIDE"], "collection": "none"}],
    "/api/exports": [{"format": "geojson", "head": "head", "slides": ["SLIDE"], "settings": {"merge": 1}}],
    "/api/labels/{task}/add": [
        {"labels": [{"label": "yes", "slide_id": "SLIDE", "x": 10, "y": 10}]},
        {"labels": [{"label": "yes", "slide_id": "SLIDE", "x": 9000, "y": 10}]},
        {"labels": [{"label": "yes", "slide_id": "SLIDE", "name": "x.png"}]},
        {"labels": [{"label": "no", "patient": "PATIENT"}]},
    ],
    "/api/labels/{task}/withdraw": [
        {"places": [{"slide_id": "SLIDE", "x": 10, "y": 10}]},
        {"places": [{"slide_id": "SLIDE", "x": 10, "y": 10}], "of": "nobody"},
        {"places": [{"patient": "PATIENT"}], "of": "*"},
        {"keys": ["0123456789abcdef"], "of": "*"},
    ],
    "/api/labels/{task}/undo": [{"change": "0123456789abcdef"}],
}
#: Routes that ask with POST, as the question is long, and change nothing.
ASKS = ("/search", "/search-many", "/query", "/embed", "/embed-text", "/suggest", "/mistakes")
#: {parameter: values that are tried}, beside the names.
KNOWN: dict[str, list[str]] = {
    "collection": ["toy"], "head": ["head"], "augmenter": ["augmenter"], "job_id": ["a1", "b2"],
    "encoder": ["mean"], "encoding": ["mean"],
    "format": ["csv", "geojson"], "task": ["tumour"], "name": ["head"], "sort": ["slide_id", "patient"],
    "where": ["diagnosis LIKE 'b%'", "path LIKE '%bronto%'", "slide_id > 'b'", "cohort = 'B'", "cast(kind as int) = 1"],
    "columns": ["slide_id", "diagnosis"], "text": ["bront", "amber", "4711"],
    "by": ["slide", "patient", "diagnosis", "path", "grade", "label:tumour", "head:head", "bronto"],
    "level": ["8"], "column": ["0"], "row": ["0"],
}  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return scene.build(tmp_path_factory.mktemp("hidden"))


@pytest.fixture(scope="module")
def spool(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("spool")
    scene.add_jobs(store, folder)
    return folder


def names(store: Store, column: int) -> list[str]:
    """Real names, and pseudonyms, of slides (0) or patients (1)."""
    shown = scene.pseudonyms(store).shown
    if column == 0:
        return [*scene.SLIDES, *(shown("slide", name) for name in scene.SLIDES)]
    patients = [str(each["patient"]) for each in scene.SLIDES.values()]
    return [*patients, *(shown("patient", name) for name in patients)]


def requests_of(client: TestClient, store: Store) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(method, path with its parameters in braces, arguments) of requests of every route."""
    document = client.get("/api/openapi.json").json()
    tiles = [str(each) for each in store.collection("toy").tiles(columns=["tile_id"])["tile_id"].to_pylist()[::3]]
    known = KNOWN | {"slide_id": names(store, 0), "patient": names(store, 1), "tile_id": tiles}
    operations = [
        (path, method, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    for path, method, operation in sorted(operations, key=lambda each: each[1] == "delete"):  # or there is nothing left
        in_path = re.findall(r"\{(\w+)\}", path)
        urls = [
            re.sub(r"\{\w+\}", "{}", path).format(*(quote(value) for value in values))
            for values in product(*(known.get(name, ["1"]) for name in in_path))
        ]
        queries = [{}]
        for parameter in operation.get("parameters", ()):
            if parameter["in"] == "query":
                queries += [{parameter["name"]: value} for value in known.get(parameter["name"], ())]
        bodies: list[Any] = [None]
        if "requestBody" in operation:
            bodies = [{}, *(filled for body in BODIES.get(path, ()) for filled in _filled(body, store))]
        for url, query, body in product(urls, queries, bodies):
            yield method, path, {"url": url, "params": query, "json": body}


def _filled(body: Any, store: Store) -> Iterator[Any]:
    text = json.dumps(body)
    count = len(scene.SLIDES) * 2 if "SLIDE" in text or "PATIENT" in text else 1
    for slide_id, patient in list(zip(names(store, 0), names(store, 1), strict=True))[:count]:
        yield json.loads(text.replace("SLIDE", slide_id).replace("PATIENT", patient))


def words_of(answer: Any) -> str:
    """All that a client can read of an answer but what it sent itself."""
    headers = {name: value for name, value in answer.headers.items() if name != "content-length"}
    return f"{answer.status_code} {headers} {answer.content.decode('utf-8', 'replace')}"


def names_of_store() -> list[str]:
    return [*scene.SLIDES, *(str(each["patient"]) for each in scene.SLIDES.values())]


def without(text: str, sent: dict[str, Any]) -> str:
    """A text without what was sent, which an error may say again."""
    known = [name for name in [*names_of_store(), *KNOWN["text"]] if name in _all_of(sent)]
    for value in sorted([*known, *_texts_in([sent["params"], sent["json"]])], key=len, reverse=True):
        for written in (value, json.dumps(value)[1:-1], repr(value)[1:-1], json.dumps(repr(value))[2:-2]):
            text = text.replace(written, "")
    return text


def _texts_in(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield from (value, *value.split("/"), *re.findall(r"'([^']*)'", value))
    elif isinstance(value, dict):
        yield from (text for each in value.values() for text in _texts_in(each))
    elif isinstance(value, list):
        yield from (text for each in value for text in _texts_in(each))


def walk(client: TestClient, store: Store, hidden: tuple[str, ...]) -> dict[str, set[int]]:
    """Ask every route, and look for hidden words; returns the statuses of each.

    What changed the store is in the access log.
    """
    scene.add_models(store)
    changes = 0
    statuses: dict[str, set[int]] = {}
    found = []
    for method, path, sent in requests_of(client, store):
        answer = client.request(method, **sent)
        statuses.setdefault(f"{method} {path}", set()).add(answer.status_code)
        if answer.is_success and method != "get" and not path.endswith(ASKS):
            before, changes = changes, sum(row["action"] != "look" for row in api.Store(store).access_log.table())
            assert changes > before, f"{method} {path} is not in the access log"
        text = without(words_of(answer), sent).lower()
        words = [word for word in hidden if re.search(rf"(?<!\d){word}(?!\d)", text)]
        found += [f"{method} {sent}: {word!r} in {text[:2000]}" for word in words[:1]]
    assert not found, f"{len(found)} answers, the first: {found[0]}"
    return statuses


@pytest.mark.slow
def test_no_answer_tells_a_caller_of_another_project(store: Store, spool: Path):
    token = store.tokens.create("of-project", role="admin", project=scene.PROJECT)
    with client_of(store, token=token, settings={"spool": str(spool)}) as client:
        statuses = walk(client, store, scene.HIDDEN_OF_PROJECT)
        slides = {row["slide_id"] for row in client.get("/api/slides").json()["rows"]}
        assert slides == set(scene.AMBER)
        for slide_id in scene.BRONTO:
            assert client.get(f"/api/slides/{quote(slide_id)}").status_code == 404
    for of_all in ("/metrics", "/api/access-log", "/api/runs"):
        assert 403 in statuses.pop(f"get {of_all}")
    assert_asked(statuses)


@pytest.mark.slow
def test_no_answer_has_a_name_beside_pseudonyms(store: Store, spool: Path):
    token = store.tokens.create("boss", role="admin")
    settings = {"spool": str(spool)}
    with client_of(store, token=token, settings=settings, pseudonyms=True, show_columns=("cohort",)) as client:
        statuses = walk(client, store, scene.HIDDEN_BY_PSEUDONYMS)
    assert 403 in statuses.pop("get /api/jobs/{job_id}/file") - {404}
    assert 403 in statuses.pop("get /api/heads/{head}/predictions/{slide_id}/export")
    assert_asked(statuses)


def assert_asked(statuses: dict[str, set[int]]) -> None:
    """Every route that only reads has answered once at least, so that there was something to look for words in."""
    assert not [route for route, codes in statuses.items() if 500 in codes]
    assert statuses.pop("get /api/collections/{collection}/views") == {404}  # there are none
    silent = [route for route, codes in statuses.items() if route.startswith("get ") and not codes & {200, 204, 304}]
    assert not silent, silent


#: Names that there are not, of as many letters as one that there is.
GHOSTS = str.maketrans("bronteABRONTE4", "wxyzuvCWXYZUV5")


@pytest.mark.slow
def test_hidden_names_are_told_from_others_by_no_answer(store: Store, spool: Path):
    """Whoever guesses a name learns nothing: the answer is that for a name that there is not."""
    token = store.tokens.create("guesser", role="read", project=scene.PROJECT)
    settings = {"spool": str(spool)}
    with client_of(store, token=token, settings=settings) as client:
        assert_alike(client, store, [*scene.BRONTO, "Bronte", "4711"])
    token = store.tokens.create("another", role="read")
    with client_of(store, token=token, settings=settings, pseudonyms=True) as client:
        assert_alike(client, store, names_of_store())


def assert_alike(client: TestClient, store: Store, hidden: list[str]) -> None:
    ghosts = {name: name.translate(GHOSTS) for name in hidden}
    assert not set(ghosts.values()) & set(hidden)
    hidden_tiles = store.collection("toy").tiles(where=f"slide_id = '{hidden[0]}'", columns=["tile_id"])
    tile = str(hidden_tiles["tile_id"][0].as_py())
    ghosts |= {tile: f"{tile[:-1]}{(int(tile[-1]) + 1) % 10}"} if not client.app.state.service.pseudonyms else {}  # type: ignore[attr-defined]
    told, count = [], 0
    filters = ("nothing = '{}'", "slide_id = '{}'", "'{}'", '"{}" = 1')
    more = [
        ("get", "/api/slides", {"url": "/api/slides", "params": {"where": text.format(name)}, "json": None})
        for name in hidden
        for text in filters
    ]
    for method, path, sent in [*requests_of(client, store), *more]:
        if method != "get" and not path.endswith(ASKS):
            continue
        name = next((each for each in ghosts if each in _all_of(sent)), None)
        if name is None:
            continue
        other = json.loads(json.dumps(sent).replace(quote(name), quote(ghosts[name])).replace(name, ghosts[name]))
        answers = [client.request(method, **each) for each in (sent, other)]
        first, second = (f"{answer.status_code} {answer.text}" for answer in answers)
        count += 1
        if first.replace(name, "…") != second.replace(ghosts[name], "…"):
            told.append(f"{method} {sent}\n  {first[:500]}\n  {second[:500]}")
    assert not told, f"{len(told)} of {count}\n" + "\n".join(told[:5])
    assert count > 50


def _all_of(sent: dict[str, Any]) -> str:
    return " ".join(_texts_in([unquote(sent["url"]), sent["params"], sent["json"]]))


def test_pseudonyms_are_what_slides_and_patients_are_known_by(store: Store):
    shown = scene.pseudonyms(store).shown
    with client_of(store, insecure=True, pseudonyms=True) as client:
        rows = client.get("/api/slides", params={"sort": "slide_id"}).json()["rows"]
        assert {row["slide_id"] for row in rows} == {
            shown("slide", name) for name in [*scene.SLIDES, "bronto-broken.svs"]
        }
        amber = shown("slide", scene.AMBER[0])
        row = client.get(f"/api/slides/{amber}").json()
        assert row["slide_id"] == amber and row["patient"] == shown("patient", "Amberley")
        assert "cohort" not in row and row["slide_mpp"] == 0.5
        assert row["outcomes"][0]["warnings"] == [f"slide '{amber}' has an odd mpp"]
        real = client.get(f"/api/slides/{quote(scene.AMBER[0])}")
        assert real.status_code == 404 and "close names" not in real.text
        for where in (f"slide_id = '{amber}'", f"patient IN ('{row['patient']}') AND NOT slide_id IN ('none')"):
            found = client.get("/api/slides", params={"where": where}).json()
            assert [each["slide_id"] for each in found["rows"]] == [amber], found
            tiles = client.get("/api/collections/toy/tiles", params={"where": where}).json()
            assert tiles["total"] == scene.TILES and {each["slide_id"] for each in tiles["rows"]} == {amber}
        for where in (f"slide_id = '{scene.AMBER[0]}'", "patient = 'Bronte'"):  # a real name is nobody's
            assert client.get("/api/slides", params={"where": where}).json()["rows"] == []
        for where in ("slide_id LIKE 'a%'", "patient > 'B'", "diagnosis = 'brontoma'", "path = 'x'", "name = 'y'"):
            answer = client.get("/api/slides", params={"where": where})
            assert answer.status_code == 400, where


def test_numbers_are_those_of_the_project(store: Store):
    token = store.tokens.create("counter", project=scene.PROJECT)
    with client_of(store, token=token) as client:
        facts = client.get("/api/collections/toy").json()
        tiles = len(scene.AMBER) * scene.TILES
        assert (facts["slides"], facts["tiles"], facts["bytes"]) == (len(scene.AMBER), tiles, tiles * scene.DIM * 2)
        assert facts["index"]["rows"] == 0 and facts["index"]["kind"] == "flat"
        assert client.get("/api").json()["slides"] == len(scene.AMBER)


def test_project_is_not_probed_by_filters_that_fail(store: Store):
    token = store.tokens.create("prober", project=scene.PROJECT)
    with client_of(store, token=token) as client:
        for where in ("cast(grade as int) = 1", "x >= 0 AND (x < 0 OR cast(grade as int) = 1)"):
            tiles = client.get("/api/collections/toy/tiles", params={"where": where})
            assert tiles.status_code == 200 and tiles.json()["total"] == 2 * scene.TILES, tiles.text
            assert client.get("/api/slides", params={"where": "cast(grade as int) = 1"}).json()["total"] == 2


@pytest.mark.slow
def test_project_whose_column_is_gone_sees_nothing(tmp_path):
    store = scene.build(tmp_path)
    token = store.tokens.create("of-project", project=scene.PROJECT)
    with client_of(store, token=token) as client:
        assert client.get("/api/slides").json()["total"] == 2
        store.ledger.drop_columns(["cohort"])
        answer = client.get("/api/slides")
        assert answer.status_code == 403 and "another token" in answer.json()["error"]["message"]


def test_two_stores_with_one_key_have_the_same_pseudonyms(tmp_path, store: Store):
    key = tmp_path / "key"
    key.write_bytes(b"0123456789abcdef\n")
    with client_of(store, insecure=True, pseudonyms=True, pseudonym_key=key) as client:
        shown = {row["slide_id"] for row in client.get("/api/slides").json()["rows"]}
    other = scene.pseudonyms(store).shown
    assert len(shown) == 5 and not shown & {other("slide", name) for name in scene.SLIDES}
    from embedstore.service.security.pseudonyms import Pseudonyms

    assert shown >= {Pseudonyms(store, b"0123456789abcdef").shown("slide", name) for name in scene.SLIDES}
