"""From files of annotations to labels at the right place: frames, slides, classes, and all or nothing."""

import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely

from embedstore.config import JoinConfig
from embedstore.errors import ConfigError, LabelError, LabelFormatError, SlideNotInStoreError
from embedstore.labels import join_labels
from embedstore.labels.importing import find_label_files, read_labels
from embedstore.store import Label, Store, read_tile_locations

from .annotated import CORNER, config, feature, make_store, polygon, square, write_asap, write_geojson


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("annotated") / "store"
    make_store(folder)
    return folder


@pytest.fixture
def store(filled: Path):
    store = Store.open(filled)
    yield store
    for task in store.labels.tasks():
        store.labels.remove(task)


def run(store: Store, *paths: Path, **options: Any):
    found = read_labels(store, paths, config(**options))
    found.write(store)
    return found


def boxes(store: Store, kind: str = "area") -> dict[str, list[tuple[float, ...]]]:
    """Bounds of the areas of each class, level-0 pixels."""
    found: dict[str, list[tuple[float, ...]]] = {}
    for row in store.labels.table().to_pylist():
        if row["kind"] == kind and row["geometry"] is not None:
            found.setdefault(row["label"], []).append(shapely.from_wkb(row["geometry"]).bounds)
    return {name: sorted(all_) for name, all_ in found.items()}


def tiles_of(store: Store, slide_id: str, name: str) -> list[list[int]]:
    """Corners of a slide's tiles that are of a class, level-0 pixels."""
    places = read_tile_locations(store.collection())
    answers = join_labels(places, store.labels.table(), store.ledger.patients(), task="t", config=JoinConfig())
    mine = answers.targets[:, answers.classes.index(name)] & (places.slide == places.slides.index(slide_id))
    return places.xy_l0[mine].tolist()


# -- frames ---------------------------------------------------------------------------------

LESION = {
    (x, y) for x in (300, 400) for y in (500, 600, 700)
}  # corners of the tiles it covers, from the image's corner


def test_qupaths_annotations_hit_the_tiles_where_the_lesion_lies(store: Store, tmp_path: Path):
    """The image begins at (1000, 2000): QuPath counts from there, tiles and ASAP from the corner of level 0."""
    drawn = feature(polygon([[300, 500], [500, 500], [500, 800], [300, 800], [300, 500]]), "tumour")
    run(store, write_geojson(tmp_path / "a.geojson", drawn), negative="normal")
    lesion = sorted([x + CORNER[0], y + CORNER[1]] for x, y in LESION)
    assert sorted(tiles_of(store, "sub/a.mrxs", "tumour")) == lesion
    assert len(tiles_of(store, "sub/a.mrxs", "normal")) == 100 - len(LESION)

    store.labels.remove("t")
    at = [[1300, 2500], [1500, 2500], [1500, 2800], [1300, 2800]]
    run(store, write_asap(tmp_path / "a.xml", ("Polygon", "tumour", at)), negative="normal")
    assert sorted(tiles_of(store, "sub/a.mrxs", "tumour")) == lesion

    store.labels.remove("t")
    shifted = feature(polygon([*at, at[0]]), "tumour")
    run(store, write_geojson(tmp_path / "a.geojson", shifted), negative="normal", origin="level0")
    assert sorted(tiles_of(store, "sub/a.mrxs", "tumour")) == lesion


def test_what_a_file_says_of_its_origin_wins(store: Store, tmp_path: Path):
    drawn = feature(polygon(square(1300, 2500, 100)), "tumour")
    path = write_geojson(tmp_path / "a.geojson", drawn, embedstore={"origin": "level0"})
    run(store, path, origin="bounds")
    assert boxes(store) == {"tumour": [(1300, 2500, 1400, 2600)]}


def test_bounds_at_zero_shift_nothing(store: Store, tmp_path: Path):
    found = run(store, write_geojson(tmp_path / "b.geojson", feature(polygon(square(30, 50, 10)), "x")))
    assert boxes(store) == {"x": [(30, 50, 40, 60)]}
    assert found.notes == ()


def test_unknown_bounds_are_said(store: Store, tmp_path: Path):
    found = run(store, write_geojson(tmp_path / "old.geojson", feature(polygon(square(30, 50, 10)), "x")))
    assert "does not know the bounds of old.svs" in found.notes[0]


def test_annotations_off_the_slide_name_both_boxes_and_the_origin_that_fits(store: Store, tmp_path: Path):
    path = write_geojson(tmp_path / "a.geojson", feature(polygon(square(7500, 4000, 400)), "x"))
    with pytest.raises(LabelError) as error:
        run(store, path)
    for part in (
        "1 of 1 annotations lie outside slide 'sub/a.mrxs'", "x 8500 to 8900, y 6000 to 6400",
        "the image x 1000 to 8000, y 2000 to 9000", "begin at 1000, 2000", "with --origin level0 all would lie on it",
    ):  # fmt: skip
        assert part in str(error.value)
    run(store, path, origin="level0")
    with pytest.raises(LabelError, match="it may be the file of another slide"):
        run(store, write_geojson(tmp_path / "b.geojson", feature(polygon(square(99_000, 0, 5)), "x")))


def test_a_folder_of_tiles_has_no_place_to_draw_on(store: Store, tmp_path: Path):
    with pytest.raises(LabelError, match=r"folder of ready-made tiles.*slide_id, name and label"):
        run(store, write_geojson(tmp_path / "tiles.geojson", feature(polygon(square(0, 0, 5)), "x")))


# -- which slide ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.geojson", "a.mrxs.geojson", "a.json"])
def test_a_file_is_about_its_namesake(store: Store, tmp_path: Path, name: str):
    found = run(store, write_geojson(tmp_path / name, feature(polygon(square(30, 50, 10)), "x")))
    assert found.files[0].slides == ("sub/a.mrxs",)


def test_a_slide_can_be_named(store: Store, tmp_path: Path):
    path = write_geojson(tmp_path / "export-17.geojson", feature(polygon(square(30, 50, 10)), "x"))
    assert run(store, path, slide="b").files[0].slides == ("b.svs",)
    with pytest.raises(SlideNotInStoreError, match=r"called 'export-17'.*name the slide with --slide"):
        run(store, path)
    with pytest.raises(SlideNotInStoreError, match=r"called 'ol'; close names: old\.svs"):
        run(store, path, slide="ol")


def test_a_file_that_names_its_slide_is_about_that_one(store: Store, tmp_path: Path):
    drawn = feature(polygon(square(30, 50, 10)), "x")
    for name in ("sub/a.mrxs", "a.mrxs"):  # as `tissue`, which knows no store, names it
        path = write_geojson(tmp_path / "b.tissue.geojson", drawn, embedstore={"slide_id": name})
        assert run(store, path).files[0].slides == ("sub/a.mrxs",)
    path = write_geojson(tmp_path / "b.geojson", drawn, embedstore={"slide_id": "gone.svs"})
    assert run(store, path).files[0].slides == ("b.svs",)


def test_namesakes_are_told_apart_by_their_folder(tmp_path: Path):
    from embedstore.labels.files.slide_names import SlideNames

    names = SlideNames(["x/a.svs", "y/a.svs", "a.svs", "c.svs", "c.ndpi"])
    assert names.of_file(tmp_path / "y" / "a.geojson") == "y/a.svs"
    assert names.of_file(tmp_path / "x" / "a.svs.geojson.gz") == "x/a.svs"
    assert names.of_file(tmp_path / "z" / "a.svs.geojson") == "a.svs"
    with pytest.raises(SlideNotInStoreError, match=r"'c' may be any of the slides c\.ndpi, c\.svs; name the slide"):
        names.of_file(tmp_path / "c.geojson")


# -- classes --------------------------------------------------------------------------------


def camelyon(tmp_path: Path) -> Path:
    groups = '<Group Name="_1" PartOfGroup="Tumor" /><Group Name="Tumor" PartOfGroup="None" />'
    return write_asap(
        tmp_path / "b.xml",
        ("Polygon", "_0", square(0, 0, 400)[:-1]),
        ("Polygon", "_1", square(600, 600, 100)[:-1]),
        ("Polygon", "_2", square(100, 100, 200)[:-1]),
        ("Dot", "_0", [[150, 150]]),
        ("Dot", "_0", [[50, 50]]),
        groups=groups,
    )


def test_camelyons_third_class_is_cut_out_of_the_tumour(store: Store, tmp_path: Path):
    found = run(
        store, camelyon(tmp_path), class_map={"_0": "tumour", "Tumor": "tumour"}, exclude=("_2",), negative="normal"
    )
    assert found.files[0].skipped == {"of excluded classes, or wholly within them": 2}  # its area, and the dot in it
    tumour = [shapely.from_wkb(row["geometry"]) for row in store.labels.table().to_pylist() if row["kind"] == "area"]
    assert sorted(shape.area for shape in tumour) == [100**2, 400**2 - 200**2]
    assert len(tiles_of(store, "b.svs", "tumour")) == 16 - 4 + 1
    assert len(tiles_of(store, "b.svs", "normal")) == 100 - 13


def test_only_some_classes_are_taken_by_their_new_names(store: Store, tmp_path: Path):
    found = run(store, camelyon(tmp_path), class_map={"_0": "tumour"}, only=("tumour", "_2"))
    assert sorted({row["label"] for row in store.labels.table().to_pylist()}) == ["_2", "tumour"]
    assert found.files[0].skipped == {"not of the classes asked for": 1}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"only": ("tumor",)}, "--only names class tumor, which no file has; they have Tumor, _0, _1, _2"),
        ({"class_map": {"_9": "x"}}, "--class-map names class _9"),
        ({"exclude": ("_9",)}, "--exclude names class _9"),
        ({"negative": "n", "within": "ROI"}, "--within names class ROI"),
        ({"only": ("_1",), "exclude": ("_1",)}, "no label in .*excluded"),
    ],
)
def test_a_class_that_no_file_has_stops_the_import(store: Store, tmp_path: Path, options, message):
    with pytest.raises(LabelError, match=message):
        run(store, camelyon(tmp_path), **options)
    assert store.labels.table().to_pylist() == []


def test_negative_within_an_area(store: Store, tmp_path: Path):
    path = write_geojson(
        tmp_path / "b.geojson",
        feature(polygon(square(0, 0, 400)), "ROI"),
        feature(polygon(square(0, 0, 200)), "tumour"),
        feature(polygon(square(500, 500, 100)), "tumour"),
    )
    run(store, path, negative="normal", within="ROI")
    assert boxes(store, "rest") == {"normal": [(0, 0, 400, 400)]}
    assert len(tiles_of(store, "b.svs", "tumour")) == 4 + 1
    assert len(tiles_of(store, "b.svs", "normal")) == 16 - 4


def test_qupaths_starred_classes_count_where_they_are_named(store: Store, tmp_path: Path):
    path = write_geojson(
        tmp_path / "b.geojson",
        feature(polygon(square(0, 0, 400)), "Region*"),
        feature(polygon(square(0, 0, 200)), "tumour"),
        feature(polygon(square(200, 200, 200)), "Ignore*"),
    )
    run(store, path)
    assert boxes(store) == {"tumour": [(0, 0, 200, 200)]}
    run(store, path, negative="normal", within="Region*", exclude=("Ignore*",))
    assert len(tiles_of(store, "b.svs", "tumour")) == 4
    assert len(tiles_of(store, "b.svs", "normal")) == 16 - 4 - 4


def test_a_file_without_the_area_says_nothing_negative(store: Store, tmp_path: Path):
    a = write_geojson(tmp_path / "a.geojson", feature(polygon(square(0, 0, 400)), "tumour"))
    b = write_geojson(tmp_path / "b.geojson", feature(polygon(square(0, 0, 400)), "ROI"))
    found = run(store, a, b, negative="normal", within="ROI")
    assert found.notes == ("a.geojson has no area of class ROI: nothing on its slide is normal",)


def test_a_slide_without_annotations_is_all_negative(store: Store, tmp_path: Path):
    path = write_geojson(tmp_path / "b.geojson")
    with pytest.raises(LabelError, match=r"they are empty.*--negative CLASS"):
        run(store, path)
    run(store, path, negative="normal")
    assert [(row["kind"], row["slide_id"], row["geometry"]) for row in store.labels.table().to_pylist()] == [
        ("rest", "b.svs", None)
    ]


@pytest.mark.parametrize(("unclassified", "labels"), [(None, ["x"]), ("tumour", ["tumour", "x"])])
def test_annotations_without_a_class_can_be_given_one(store: Store, tmp_path: Path, unclassified, labels):
    drawn = feature(polygon(square(0, 0, 400)), "x"), feature(polygon(square(500, 500, 100)))
    found = run(store, write_geojson(tmp_path / "b.geojson", *drawn), unclassified=unclassified)
    assert sorted(row["label"] for row in store.labels.table().to_pylist()) == labels
    assert found.files[0].skipped == ({} if unclassified else {"without a class": 1})


def test_nought_is_a_class(store: Store, tmp_path: Path):
    drawn = [feature(polygon(square(x, 0, 100)), label=x // 500) for x in (0, 500)]
    run(store, write_geojson(tmp_path / "b.geojson", *drawn))
    assert sorted(row["label"] for row in store.labels.table().to_pylist()) == ["0", "1"]


# -- several files --------------------------------------------------------------------------


def test_an_error_in_one_file_leaves_the_store_as_it_was(store: Store, tmp_path: Path):
    good = write_geojson(tmp_path / "a.geojson", feature(polygon(square(0, 0, 400)), "x"))
    run(store, good)
    before = store.labels.table().to_pylist()
    better = write_geojson(tmp_path / "a.geojson", feature(polygon(square(0, 0, 500)), "x"))
    (tmp_path / "b.geojson").write_text("{")
    with pytest.raises(LabelFormatError):
        run(store, better, tmp_path / "b.geojson")
    assert store.labels.table().to_pylist() == before


def test_a_file_that_changed_replaces_itself_and_no_other(store: Store, tmp_path: Path):
    a = write_geojson(tmp_path / "a.geojson", feature(polygon(square(0, 0, 400)), "x"))
    b = write_geojson(tmp_path / "b.geojson", feature(polygon(square(0, 0, 400)), "y"))
    run(store, a, b)
    run(store, a, author="ben")
    write_geojson(a, feature(polygon(square(0, 0, 300)), "x"))
    found = read_labels(store, [a], config())
    assert found.write(store).replaced == 1
    assert boxes(store) == {"x": [(1000, 2000, 1300, 2300), (1000, 2000, 1400, 2400)], "y": [(0, 0, 400, 400)]}


def test_a_folder_means_the_drawings_below_it(tmp_path: Path):
    drawn = [write_geojson(tmp_path / "a" / "b.geojson"), write_geojson(tmp_path / "c.json")]
    for name in ("d.xml", "slides.csv", ".hidden.json", "e.geojson.gz", "e.svs"):
        (tmp_path / name).write_text("")
    expected = {*drawn, tmp_path / "d.xml", tmp_path / "e.geojson.gz"}
    assert set(find_label_files([tmp_path])) == expected
    assert find_label_files([tmp_path], "table") == [tmp_path / "slides.csv"]
    assert find_label_files([drawn[0], drawn[0]]) == [drawn[0]]
    with pytest.raises(LabelFormatError, match="holds no file of format geojson or asap"):
        (tmp_path / "empty").mkdir()
        find_label_files([tmp_path / "empty"])
    with pytest.raises(LabelFormatError, match=r"geojson or asap; .*empty is a store of embedstore"):
        (tmp_path / "empty" / "slides.lance").mkdir()
        find_label_files([tmp_path / "empty"])
    with pytest.raises(LabelFormatError, match="no file or folder at"):
        find_label_files([tmp_path / "gone"])


def test_folders_that_may_not_be_read_are_passed_over_and_told(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for name in ("open", "unlisted", "listed"):
        write_geojson(tmp_path / name / "a.geojson", feature(polygon(square(0, 0, 400)), "x"))
    is_root = os.geteuid() == 0  # who may read everything
    if is_root:
        scandir, access = os.scandir, os.access

        def refuse(path: str) -> Iterator[os.DirEntry]:
            if str(path).endswith("/unlisted"):
                raise PermissionError(errno.EACCES, "Permission denied", path)
            return scandir(path)

        monkeypatch.setattr(os, "scandir", refuse)
        monkeypatch.setattr(os, "access", lambda path, mode: access(path, mode) and not str(path).endswith("/listed"))
    else:
        (tmp_path / "unlisted").chmod(0)
        (tmp_path / "listed").chmod(0o444)
    found = read_labels(store, [tmp_path], config())
    assert [file.path for file in found.files] == [tmp_path / "open" / "a.geojson"]
    note = "passed over 2 folder(s) that cannot be read: listed, unlisted; allow this user to read them"
    assert note in found.notes
    with pytest.raises(LabelFormatError, match="holds no file of format geojson or asap; passed over 1 folder"):
        find_label_files([tmp_path / "unlisted"])
    if not is_root:
        (tmp_path / "unlisted").chmod(0o755)
        (tmp_path / "listed").chmod(0o755)


def qupath_project(folder: Path, *names: str) -> Path:
    """A folder as QuPath keeps it, with exports in it."""
    for name, text in (("project.qpproj", '{"images": []}'), ("classifiers/classes.json", '{"pathClasses": []}'),
                       ("data/1/summary.json", "{}"), ("data/1/server.json", '{"builderType": "uri"}'),
                       ("resources/names.json", '["a"]'), ("data/1/thumbnail.xml", "<a/>")):  # fmt: skip
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    for name in names:
        write_geojson(folder / "export" / name, feature(polygon(square(0, 0, 400)), "x"))
    return folder


def test_in_a_project_of_qupath_its_own_files_are_passed_over(store: Store, tmp_path: Path):
    project = qupath_project(tmp_path / "project", "b.geojson", "sub/a.mrxs.json")
    found = run(store, project)
    assert [file.slides for file in found.files] == [("b.svs",), ("sub/a.mrxs",)]
    expected = "passed over 5 file(s) that hold no annotations: classes.json, server.json, summary.json, …"
    assert found.notes[0] == expected
    with pytest.raises(LabelFormatError, match=r"classes\.json is no GeoJSON: expected a FeatureCollection"):
        run(store, project / "classifiers" / "classes.json")  # named, not found in a folder
    with pytest.raises(LabelError, match="no file is left to import; passed over 5"):
        run(store, qupath_project(tmp_path / "empty"))


@pytest.mark.parametrize(
    ("odd", "option", "note"),
    [
        (
            "nobody.geojson",
            "skip_unknown_slides",
            r"left out 2 file\(s\) of slides that the store lacks: nobody.geojson, z",
        ),
        ("b.geojson.gz", "skip_invalid", r"left out: .*b\.geojson\.gz is no GeoJSON: found a file that ends"),
        ("tiles.geojson", "skip_invalid", r"left out: .*tiles\.geojson: slide 'tiles' is a folder of ready-made tiles"),
    ],
)
def test_an_odd_file_stops_an_import_unless_it_is_to_be_left_out(store: Store, tmp_path: Path, odd, option, note):
    project = qupath_project(tmp_path / "project", "b.geojson", odd)
    if option == "skip_unknown_slides":
        qupath_project(project, "z.geojson")
    if odd.endswith(".gz"):
        (project / "export" / odd).write_text('{"type": "FeatureColl')
    with pytest.raises(ValueError if option == "skip_invalid" else SlideNotInStoreError) as error:
        run(store, project)
    assert f"--{option.replace('_', '-')} leaves " in str(error.value)
    assert ("so it is with 1 more: z.geojson" in str(error.value)) == (option == "skip_unknown_slides")
    assert store.labels.table().to_pylist() == []
    found = run(store, project, **{option: True})
    assert [file.path.name for file in found.files] == ["b.geojson"]
    assert re.search(note, "\n".join(found.notes))


def test_a_malformed_annotation_can_be_left_out_alone(store: Store, tmp_path: Path):
    drawn = feature(polygon(square(0, 0, 400)), "x"), feature(polygon([["a", 0], [1, 1], [2, 0]]), "y")
    path = write_geojson(tmp_path / "b.geojson", *drawn)
    with pytest.raises(LabelFormatError, match=r"b\.geojson, feature 2: expected a coordinate.*--skip-invalid"):
        run(store, path)
    found = run(store, path, skip_invalid=True)
    assert found.notes == (
        "b.geojson: feature 2: expected a coordinate in pixels, found 'a'", "b.geojson: skipped 1 malformed",
    )  # fmt: skip


def test_annotations_partly_outside_of_the_image_are_told(store: Store, tmp_path: Path):
    path = write_geojson(tmp_path / "a.geojson", feature(polygon(square(6800, 3000, 1000)), "x"))
    assert "with --origin level0 all would lie on it" in run(store, path).notes[0]
    assert run(store, path, origin="level0").notes == ()


def test_an_unknown_ending_asks_for_the_format(store: Store, tmp_path: Path):
    path = write_geojson(tmp_path / "b.dat", feature(polygon(square(0, 0, 400)), "x"))
    with pytest.raises(LabelFormatError, match=r"b\.dat: unknown format.*--format"):
        run(store, path)
    assert run(store, path, format="geojson", slide="b").files[0].format == "geojson"


def test_conflicts_are_reported_and_both_kept(store: Store, tmp_path: Path):
    one = polygon(square(0, 0, 400))
    turned = polygon([*one["coordinates"][0][2:], *one["coordinates"][0][1:3]])  # the same ring from another point
    run(store, write_geojson(tmp_path / "b.geojson", feature(one, "x")), author="ben")
    found = run(store, write_geojson(tmp_path / "b.geojson", feature(turned, "y"), feature(one, "y")))
    assert len(found.conflicts) == 1
    assert found.conflicts[0].startswith("area of slide b.svs: x (ben, ")
    assert sorted(row["label"] for row in store.labels.table().to_pylist()) == [
        "x",
        "y",
    ]  # y, drawn twice, is one label
    assert np.unique([row["geometry"] for row in store.labels.table().to_pylist()]).size == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"author": "ingest"}, "stands for what ingest found"),
        ({"task": " "}, "the task has no name"),
        ({"within": "ROI"}, "name that class with --negative"),
        ({"format": "pdf"}, "format is 'pdf'"),
        ({"origin": "moon"}, "origin is 'moon'"),
        (
            {"class_map": {"_0": "tumour"}, "only": ("_0",), "negative": "normal"},
            "--only names class '_0', which --class-map renames to 'tumour'; name the new class",
        ),
        ({"class_map": {"a": "b"}, "exclude": ("a",)}, "--exclude names class 'a'"),
        ({"class_map": {"a": "b"}, "within": "a", "negative": "n"}, "--within names class 'a'"),
    ],
)
def test_a_request_that_means_nothing_is_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        config(**options)


def test_a_class_may_take_the_old_name_of_another():
    assert config(class_map={"a": "b", "c": "a"}, only=("a",)).only == ("a",)


def test_an_import_shows_itself_in_a_few_lines(store: Store, tmp_path: Path):
    found = run(store, camelyon(tmp_path), class_map={"_0": "tumour"}, only=("tumour",), negative="normal")
    first, *lines = repr(found).splitlines()
    assert first == f"{len(found.labels)} labels of 1 file(s) for task 't'"
    assert "  normal (rest): 1" in lines and any("not of the classes asked for" in line for line in lines)
    assert len(lines) < 6


def test_a_store_among_the_drawings_is_passed_over(tmp_path: Path):
    from embedstore.labels.importing import find_label_files

    for name in ("a.geojson", "store/slides.lance/_versions/latest_version_hint.json", ".hidden/b.geojson", "c/d.xml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("null")
    assert [path.name for path in find_label_files([tmp_path])] == ["a.geojson", "d.xml"]


def test_conflicts_are_those_of_a_plain_comparison_of_all_labels(tmp_path: Path):
    store = make_store(tmp_path / "store")
    rng = np.random.default_rng(0)
    shapes = [None, b"", shapely.to_wkb(shapely.box(0, 0, 1, 1)), shapely.to_wkb(shapely.box(0, 0, 2, 1))]

    def drawn(author: str, source: str) -> list[Label]:
        common = {"task": "t", "author": author, "source": source}
        labels = []
        for _ in range(60):
            kind = str(rng.choice(["tile", "point", "area", "rest", "slide", "patient"]))
            label, slide, patient = (str(rng.choice(list(letters))) for letters in ("xxy", "ab", "pq"))
            place: dict[str, Any] = {"slide_id": None if kind == "patient" else slide, "patient": patient}
            if kind in ("tile", "point"):
                place |= {"x": float(rng.integers(0, 3)) * -1.0, "y": 2.0, "edge_l0": 9.0 if kind == "tile" else None}
            elif kind in ("area", "rest"):
                place["geometry"] = shapes[rng.integers(kind == "area" and 2, 4)]
            labels.append(Label(kind=kind, label=label, **common, **place))  # type: ignore[arg-type]
        return labels

    for author, source in (("ann", "1.csv"), ("ann", "2.csv"), ("ben", "1.csv")):
        store.labels.replace("t", drawn(author, source), author=author, sources=[source])
    new = drawn("ann", "1.csv")
    stored = [label for label in Label.from_table(store.labels.table(task="t"))
              if (label.author, label.source) != ("ann", "1.csv")]  # fmt: skip

    def place(label: Label) -> tuple[Any, ...]:
        if label.kind == "patient":
            return "patient", label.patient
        return label.kind, label.slide_id, label.x, label.y, label.edge_l0, label.geometry or None

    said: dict[tuple[Any, ...], set[tuple[str, str, str]]] = {place(label): set() for label in new}
    for label in (*new, *stored):
        if place(label) in said:
            said[place(label)].add((label.label, label.author, label.source))
    expected = [
        " and ".join(f"{label} ({author}, {source})" for label, author, source in sorted(claims))
        for claims in said.values()
        if len({label for label, _, _ in claims}) > 1
    ]
    found = store.labels.conflicts("t", new, author="ann", sources=["1.csv"])
    assert [line.split(": ", 1)[1] for line in found] == expected
    assert 5 < len(expected) < len(said)
