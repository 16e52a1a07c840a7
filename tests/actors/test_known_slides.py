"""Slides that a store knows, under other ids."""

from pathlib import Path

import pytest

from actors.known_slides import recognise
from embedstore.slides import find_slides, fingerprint
from embedstore.store import SlideRow, Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store that knows slides/a.svs and slides/b.svs, copies of each other, as a.svs and b.svs."""
    for name in "ab":
        path = tmp_path / "slides" / f"{name}.svs"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"the same content")
    made = Store.create(str(tmp_path / "store"))
    rows = [
        SlideRow(slide_id=path.name, path=str(path), kind="wsi", fingerprint=fingerprint(path))
        for path in sorted((tmp_path / "slides").iterdir())
    ]
    made.ledger.record(rows, [])
    return made


def known(store: Store, path: Path) -> dict[str, str]:
    return recognise(find_slides([path]), store)[1]


def test_a_slide_is_known_by_its_path_whatever_its_id(store: Store, tmp_path: Path):
    (tmp_path / "list.csv").write_text("path,slide_id,patient\nslides/a.svs,,007\nslides/b.svs,B,008\n")
    renamed, ids = recognise(find_slides([tmp_path / "list.csv"]), store)
    assert ids == {"slides/a.svs": "a.svs", "B": "b.svs"}
    assert {source.slide_id: source.metadata["patient"] for source in renamed.sources} == {
        "a.svs": "007",
        "b.svs": "008",
    }
    assert renamed.summary.notes == (
        "2 slide(s) are in the store under other ids, which they keep: B is b.svs, slides/a.svs is a.svs",
    )


def test_another_patient_than_the_store_has_is_told(store: Store, tmp_path: Path):
    store.ledger.refresh([("a.svs", str(tmp_path / "slides" / "a.svs"), {"patient": "1"})])
    (tmp_path / "list.csv").write_text("path,patient\nslides/a.svs,1\nslides/b.svs,2\n")
    told = "1 slide(s) get another patient than the store has: a.svs: 1 becomes 7"
    assert told not in recognise(find_slides([tmp_path / "list.csv"]), store)[0].summary.warnings
    (tmp_path / "list.csv").write_text("path,patient\nslides/a.svs,7\nslides/b.svs,\n")
    assert told in recognise(find_slides([tmp_path / "list.csv"]), store)[0].summary.warnings


def test_a_slide_is_known_behind_a_link(store: Store, tmp_path: Path):
    (tmp_path / "link").symlink_to(tmp_path / "slides")
    (tmp_path / "list.csv").write_text("path\nlink/a.svs\n")
    assert known(store, tmp_path / "list.csv") == {"link/a.svs": "a.svs"}


def test_a_slide_that_moved_is_known_by_its_content_and_a_copy_is_not(store: Store, tmp_path: Path):
    new = tmp_path / "new"
    new.mkdir()
    (new / "copy.svs").write_bytes(b"the same content")
    (new / "other.svs").write_bytes(b"another content")
    assert known(store, new) == {}
    (tmp_path / "slides" / "a.svs").rename(new / "moved.svs")
    assert set(known(store, new / "moved.svs").values()) == {"a.svs"}


def test_an_id_that_is_given_to_another_file_is_not_taken(store: Store, tmp_path: Path):
    (tmp_path / "a.svs").write_bytes(b"another content")
    (tmp_path / "list.csv").write_text("path\na.svs\nslides/a.svs\n")
    assert known(store, tmp_path / "list.csv") == {}


def test_a_tile_folder_in_one_that_the_store_has_is_told(store: Store, tmp_path: Path):
    for name in ("normal/1.png", "tumour/1.png"):
        (tmp_path / "set" / name).parent.mkdir(parents=True)
        (tmp_path / "set" / name).touch()
    store.ledger.record([SlideRow(slide_id="old", path=str(tmp_path / "set"), kind="tiles")], [])
    found, ids = recognise(find_slides([tmp_path / "set" / "normal"]), store)
    assert ids == {}
    assert found.summary.warnings == (
        "tile folders overlap, and their tiles will be in the store twice: normal lies in old (in the store)",
    )
    assert recognise(find_slides([tmp_path / "set"]), store)[1] == {"set": "old"}


def test_copies_in_one_call_are_told_before_the_work(store: Store, tmp_path: Path):
    for name in ("c", "d", "e", "f"):
        (tmp_path / "new").mkdir(exist_ok=True)
        (tmp_path / "new" / f"{name}.svs").write_bytes(b"d" * 9 if name == "d" else b"c" * 9 if name < "f" else b"")
    found, _ = recognise(find_slides([tmp_path / "new"]), store)
    assert found.summary.warnings == ("1 slide(s) are copies of others: e.svs of c.svs",)


def test_slides_that_the_store_has_are_not_read_again_for_copies(store: Store, tmp_path: Path, monkeypatch):
    slides = tmp_path / "slides"
    with monkeypatch.context() as patched:
        patched.setattr("actors.known_slides.fingerprint_of", lambda source: pytest.fail(f"{source.path} is read"))
        assert recognise(find_slides([slides]), store)[0].summary.warnings == ()
    (slides / "c.svs").write_bytes(b"the same content")
    found, _ = recognise(find_slides([slides]), store)
    assert found.summary.warnings == ("2 slide(s) are copies of others: b.svs of a.svs, c.svs of a.svs",)
