"""Labels over HTTP: given by several people, compared, undone, sent and fetched as files, and refused as a whole."""

import io
import json
import threading
import zipfile
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest
from starlette.testclient import TestClient

from embedstore.service.answers import ARROW
from embedstore.store import Store
from tests.labels.annotated import CORNER, feature, make_store, polygon, square
from tests.service.clients import client_of

T = "/api/labels/t"
LOCAL = ("127.0.0.1", 50_000)
POINT = {"slide_id": "b.svs", "x": 1, "y": 2}
AREA = {"slide_id": "b.svs", "geometry": polygon(square(0, 0, 90))}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, dict[str, TestClient]]]:
    """A store, and three who ask for it: Anna and Ben label, Rita reads."""
    store = make_store(tmp_path_factory.mktemp("labels") / "store")
    tokens = {
        name: store.tokens.create(name, role=role)
        for name, role in (("anna", "label"), ("ben", "label"), ("rita", "read"))
    }
    with client_of(store) as client:
        clients = {
            name: TestClient(client.app, client.base_url, headers={"Authorization": f"Bearer {token}"}, client=LOCAL)
            for name, token in tokens.items()
        }
        for each in clients.values():
            each.portal = client.portal  # one event loop: limiters wake only those who wait on their own
        yield store, clients


@pytest.fixture
def store(served: tuple[Store, dict[str, TestClient]]) -> Store:
    """Without labels."""
    for task in {change.task for change in served[0].labels.changes().values()}:
        served[0].labels.remove(task)
    return served[0]


@pytest.fixture
def people(store: Store, served: tuple[Store, dict[str, TestClient]]) -> dict[str, TestClient]:
    return served[1]


def add(client: TestClient, *labels: dict[str, Any], task: str = "t") -> dict[str, Any]:
    answer = client.post(f"/api/labels/{task}/add", json={"labels": list(labels)})
    assert answer.status_code == 200, answer.text
    return answer.json()


def refused(answer: Any, status: int) -> str:
    assert answer.status_code == status, answer.text
    return answer.json()["error"]["message"]


def rows(client: TestClient, path: str = T, **query: object) -> list[dict[str, Any]]:
    answer = client.get(path, params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()["rows"]


def test_the_author_is_the_caller_and_labels_stand_side_by_side(people: dict[str, TestClient], store: Store):
    tile = str(store.collection("toy").tiles(columns=["tile_id"], limit=1)["tile_id"][0].as_py())
    change = add(people["anna"], {"label": "x", **POINT}, {"label": "y", "tile_id": tile}, {"label": "z", **AREA})
    assert (change["author"], change["added"], change["withdrawn"], change["notes"]) == ("anna", 3, 0, [])
    add(people["ben"], {"label": "y", **POINT})
    found = rows(people["rita"])
    assert sorted((row["author"], row["kind"], row["slide_id"], row["label"]) for row in found) == [
        ("anna", "area", "b.svs", "z"), ("anna", "point", "b.svs", "x"), ("anna", "tile", "sub/a.mrxs", "y"),
        ("ben", "point", "b.svs", "y"),
    ]  # fmt: skip
    assert [row["geometry"]["type"] for row in found if row["kind"] == "area"] == ["Polygon"]
    assert rows(people["rita"], author="ben")[0]["label"] == "y" and len(rows(people["rita"], slide_id="b.svs")) == 3
    assert len(rows(people["rita"], offset=1, limit=2)) == 2
    table = pa.ipc.open_stream(people["rita"].get(T, headers={"Accept": ARROW}).content).read_all()
    assert len(table) == 4 and pa.types.is_binary(table.schema.field("geometry").type)
    assert [(row["task"], row["author"], row["labels"]) for row in rows(people["rita"], "/api/labels")] == [
        ("t", "anna", 1), ("t", "ben", 1), ("t", "anna", 1), ("t", "anna", 1),
    ]  # fmt: skip


def test_labels_are_compared_withdrawn_and_undone(people: dict[str, TestClient]):
    anna, ben = people["anna"], people["ben"]
    add(anna, {"label": "x", **POINT}, {"label": "x", "slide_id": "b.svs", "x": 30, "y": 30})
    add(ben, {"label": "y", **POINT}, {"label": "y", **AREA})
    told = rows(people["rita"], f"{T}/disagreements")
    assert [(row["x"], row["label_anna"], row["label_ben"]) for row in told] == [(1, "x", "y"), (30, "x", "y")]
    assert rows(people["rita"], f"{T}/agreement") == [
        {"author": "anna", "other": "ben", "places": 2, "equal": 0.0, "kappa": 0.0}
    ]
    message = refused(ben.post(f"{T}/withdraw", json={"places": [{"slide_id": "b.svs", "x": 30, "y": 30}]}), 400)
    assert "labels there are those of anna" in message
    key = rows(ben, author="anna")[0]["label_key"]
    withdrawn = ben.post(f"{T}/withdraw", json={"keys": [key], "of": "anna"}).json()
    assert (withdrawn["author"], withdrawn["withdrawn"]) == ("ben", 1)
    assert anna.post(f"{T}/withdraw", json={"places": [{**AREA}, {**POINT}], "of": "*"}).json()["withdrawn"] == 2
    assert anna.post(f"{T}/undo", json={}).json()["added"] == 2
    assert ben.post(f"{T}/undo", json={"change": withdrawn["change"]}).json()["undoes"] == withdrawn["change"]
    assert "undone already" in refused(ben.post(f"{T}/undo", json={"change": withdrawn["change"]}), 400)
    history = rows(people["rita"], f"{T}/history")
    assert [(row["author"], row["added"], row["withdrawn"]) for row in history] == [
        ("anna", 2, 0), ("ben", 2, 0), ("ben", 0, 1), ("anna", 0, 2), ("anna", 2, 0), ("ben", 1, 0),
    ]  # fmt: skip
    assert len(rows(people["rita"])) == 4


@pytest.mark.parametrize(
    ("label", "status", "told"),
    [
        ({"label": "x"}, 400, "row 2: says no place"),
        ({"label": "x", "slide_id": "no.svs"}, 404, "no slide 'no.svs'"),
        ({"label": "x", "patient": "nobody"}, 404, "nobody"),
        ({"label": "x", "tile_id": "1"}, 404, "1 of its 1 tiles"),
        ({"label": "x", "tile_id": "x"}, 422, "tile_id"),
        ({"label": "x", "slide_id": "b.svs", "x": 9000, "y": 1}, 400, "outside their slides"),
        ({"label": "x", "slide_id": "b.svs", "x": 1e300, "y": 1}, 422, "labels.1.x"),
        ({"label": "x", "slide_id": "tiles", "name": "../../etc/passwd"}, 404, "are in no collection"),
        ({"label": "x", "slide_id": "b.svs", "geometry": {"type": "Polygon", "coordinates": [[[0]]]}}, 400, "row 2"),
        ({"label": "", "slide_id": "b.svs"}, 422, "labels.1.label"),
        ({"label": " ", "slide_id": "b.svs"}, 400, "row 2: has no class"),
        ({"label": "x\u0000", "slide_id": "b.svs"}, 400, "NUL"),
        ({"label": "x", "slide_id": "b.svs", "author": "ben"}, 422, "labels.1.author"),
        ({"label": "x", "slide_id": "b.svs", "kind": "area"}, 400, "row 2"),
    ],
)  # fmt: skip
def test_one_wrong_label_stops_all(people: dict[str, TestClient], label: dict, status: int, told: str):
    answer = people["anna"].post(f"{T}/add", json={"labels": [{"label": "x", **POINT}, label]})
    assert told in refused(answer, status)
    assert rows(people["rita"], f"{T}/history") == []


def test_who_only_reads_changes_nothing(people: dict[str, TestClient]):
    for verb, body in (("add", {"labels": [{"label": "x", **POINT}]}), ("withdraw", {"keys": ["a"]}), ("undo", {})):
        assert people["rita"].post(f"{T}/{verb}", json=body).status_code == 403
    assert people["rita"].post(f"{T}/import", params={"name": "a.csv"}, content=b"x").status_code == 403
    assert people["rita"].get("/api/labels").json() == {"total": 0, "rows": []}
    assert "no label of task 't'" in refused(people["rita"].get(T), 404)


def test_a_task_may_have_a_slash(people: dict[str, TestClient]):
    add(people["anna"], {"label": "x", **POINT}, task="lung/grade")
    assert rows(people["rita"], "/api/labels/lung/grade")[0]["task"] == "lung/grade"
    assert len(rows(people["rita"], "/api/labels/lung%2Fgrade/history")) == 1


def test_a_project_sees_and_changes_labels_of_its_slides(store: Store, people: dict[str, TestClient]):
    both = add(
        people["anna"],
        {"label": "x", **POINT},
        {"label": "x", "slide_id": "sub/a.mrxs"},
        {"label": "x", "patient": "007"},
    )
    with client_of(store, token=store.tokens.create("petra", role="label", project="patient = 'p2'")) as petra:
        assert [row["slide_id"] for row in rows(petra)] == ["b.svs"]
        assert [row["added"] for row in rows(petra, f"{T}/history")] == [1]
        assert rows(petra, "/api/labels")[0]["slides"] == 1
        for place in ({"slide_id": "sub/a.mrxs"}, {"slide_id": "a"}, {"patient": "007"}):
            told = refused(petra.post(f"{T}/add", json={"labels": [{"label": "y", **place}]}), 404)
            assert "close names" not in told and "may be" not in told
        assert "also about slides" in refused(petra.post(f"{T}/undo", json={"change": both["change"]}), 400)
        key = next(row["label_key"] for row in rows(people["anna"]) if row["slide_id"] == "sub/a.mrxs")
        assert "do not stand" in refused(petra.post(f"{T}/withdraw", json={"keys": [key], "of": "*"}), 400)
        add(petra, {"label": "y", **POINT})
        assert len(rows(petra, f"{T}/disagreements")) == 1
        sent = json.dumps({"type": "FeatureCollection", "features": [feature(polygon(square(0, 0, 9)), "x")]})
        answer = petra.post(f"{T}/import", params={"name": "a.geojson", "slide_id": "sub/a.mrxs"}, content=sent)
        refused(answer, 404)
        with zipfile.ZipFile(io.BytesIO(petra.get(f"{T}/export").content)) as archive:
            assert archive.namelist() == ["b.svs.geojson"]
    assert len(rows(people["anna"])) == 4


# -- files ----------------------------------------------------------------------------------


def send(
    client: TestClient, content: str | bytes, name: str = "b.geojson", *, type: str = "text/plain", **query: object
) -> Any:
    return client.post(f"{T}/import", params={"name": name, **query}, content=content, headers={"Content-Type": type})


def test_a_file_that_is_sent_again_replaces_what_it_held(people: dict[str, TestClient]):
    file = json.dumps({"type": "FeatureCollection", "features": [feature(polygon(square(0, 0, 300)), "x")]})
    dry = send(people["anna"], file, dry_run=True, negative="normal").json()
    assert (dry["change"], dry["labels"], dry["counts"]) == (None, 2, {"normal": 1, "x": 1})
    assert rows(people["rita"], f"{T}/history") == []
    assert send(people["anna"], file, class_map="x=y").json()["counts"] == {"y": 1}
    again = send(people["anna"], file, name="C:\\here\\b.geojson").json()
    assert (again["replaced"], again["conflicts"]) == (1, [])
    (row,) = rows(people["rita"])
    assert (row["source"], row["author"], row["label"]) == ("b.geojson", "anna", "x")
    told = send(people["ben"], file, class_map="x=z").json()["conflicts"]
    assert told == ["area of slide b.svs: x (anna, b.geojson) and z (ben, b.geojson)"]


def test_a_large_geojson_is_a_file(people: dict[str, TestClient]):
    file = json.dumps({"type": "FeatureCollection", "features": [feature(polygon(square(0, 0, 300)), "x")]})
    large = file + " " * (5 << 20)
    assert send(people["anna"], large, type="application/geo+json").json()["labels"] == 1
    headers = {"Content-Type": "application/geo+json"}
    assert people["anna"].post(f"{T}/add", content=large, headers=headers).status_code == 413
    assert "expected at most 33,554,432" in refused(send(people["anna"], b"x" * ((32 << 20) + 1)), 413)


@pytest.mark.parametrize(
    ("content", "name", "status", "told"),
    [
        (b"", "a.csv", 400, "has no file"),
        (b"\x1f\x8bzz", "a.geojson", 400, "packed"),
        (b"PK\x03\x04", "a.xlsx", 400, "packed"),
        (b"{", "b.geojson", 400, "b.geojson is no GeoJSON"),
        (b"a,b\n1,2\n", "b.csv", 400, "b.csv: expected the column label"),
        (b"slide_id,label\nno.svs,x\n", "b.csv", 404, "b.csv: no slide of the store is called 'no.svs'"),
        (b"<!DOCTYPE a [<!ENTITY b 'c'>]><ASAP_Annotations/>", "b.xml", 400, "without a DOCTYPE"),
        (b"x", "..", 400, "cannot name a file"),
        (b"x", "a\nb.csv", 400, "cannot name a file"),
        (b"x", "a" * 150 + "\u20ac" * 50, 400, "cannot name a file"),
        (b"x", "a.exe", 400, "unknown format"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_refused_without_a_path(
    people: dict[str, TestClient], content: bytes, name: str, status: int, told: str
):
    message = refused(send(people["anna"], content, name), status)
    assert told in message and "/tmp" not in message
    assert rows(people["rita"], f"{T}/history") == []


def test_what_is_fetched_can_be_sent_again(people: dict[str, TestClient], store: Store):
    given = [
        {"label": "x", "slide_id": "sub/a.mrxs", "geometry": polygon(square(*CORNER, 90))},
        {"label": "y", "patient": "p2"},
    ]
    add(people["anna"], *given)
    add(people["ben"], {"label": "z", **POINT})
    answer = people["rita"].get(f"{T}/export")
    assert answer.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    assert sorted(files) == ["b.svs.geojson", "labels.csv", "sub/a.mrxs.geojson"]
    one = people["rita"].get(f"{T}/export", params={"format": "geojson", "slide_id": "sub/a.mrxs"})
    assert one.content == files["sub/a.mrxs.geojson"] and one.headers["content-type"] == "application/geo+json"
    table = people["rita"].get(f"{T}/export", params={"format": "csv", "author": "ben"}).text
    assert table.splitlines()[1].startswith("point,b.svs,,1.0,2.0")
    for name, content in files.items():
        answer = people["ben"].post("/api/labels/copy/import", params={"name": name}, content=content)
        assert answer.status_code == 200, answer.text
    kept = [
        {key: row[key] for key in ("slide_id", "patient", "label", "x", "geometry")} for row in rows(people["rita"])
    ]
    copied = [{key: row[key] for key in kept[0]} for row in rows(people["rita"], "/api/labels/copy")]
    assert sorted(map(str, kept)) == sorted(map(str, copied))
    assert "of that author" in refused(people["rita"].get(f"{T}/export", params={"author": "nobody"}), 400)
    assert "areas" in refused(people["rita"].get(f"{T}/export", params={"format": "csv"}), 400)


def test_files_are_neither_read_nor_named_beside_pseudonyms(store: Store):
    token = store.tokens.create("paula", role="label")
    with client_of(store, token=token, pseudonyms=True) as client:
        shown = next(row for row in client.get("/api/slides").json()["rows"] if row["kind"] == "wsi")
        add(
            client,
            {"label": "x", "slide_id": shown["slide_id"], "x": 1, "y": 1},
            {"label": "x", "patient": shown["patient"]},
        )
        assert {row["slide_id"] for row in rows(client)} == {shown["slide_id"], None}
        assert "pseudonyms" in refused(send(client, b"x"), 403)
        with zipfile.ZipFile(io.BytesIO(client.get(f"{T}/export").content)) as archive:
            assert f"{shown['slide_id']}.geojson" in archive.namelist()


def test_people_who_label_at_once_all_succeed(people: dict[str, TestClient]):
    answers: list[Any] = []

    def work(name: str, tab: int) -> None:
        for i in range(3):
            labels = [{"label": f"{tab} {i}", **POINT}, {"label": "x", "slide_id": "b.svs", "x": 100 * tab + i, "y": 0}]
            answers.append(people[name].post(f"{T}/add", json={"labels": labels}))

    threads = [threading.Thread(target=work, args=at) for at in (("anna", 1), ("anna", 2), ("ben", 3))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [answer.status_code for answer in answers] == [200] * 9
    assert len(rows(people["rita"])) == 9 + 2
