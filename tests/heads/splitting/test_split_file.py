"""Splits given as a table."""

import numpy as np
import pytest

from embedstore.errors import SplitError
from heads.config import SplitConfig
from heads.splitting.split_file import read_split_file
from heads.splitting.splits import TEST, TRAIN, UNUSED, VALID, make_split


def write(tmp_path, text: str):
    path = tmp_path / "split.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_patients_of_a_file_become_parts_of_rows(tmp_path):
    file = read_split_file(write(tmp_path, "\ufeffPatient, Split ,age\n007,train,60\n7,val,50\nx,test,1\n\n"))
    assert (file.by, file.parts) == ("patient", {"007": "train", "7": "val", "x": "test"})
    codes = np.array([0, 1, 2, 2, 3, -1])
    values, names, notes = file.place(codes, ("7", "007", "x", "other"))
    made = make_split(SplitConfig(kind="file", file="split.csv"), groups=np.array([0, 1, 2, 2, 3, 4]),
                      strata=np.ones((6, 1), bool), classes=["a"], values=values, value_names=names)  # fmt: skip
    np.testing.assert_array_equal(made.parts, [[VALID, TRAIN, TEST, TEST, UNUSED, UNUSED]])
    assert notes == ()
    assert any("2 of 6 labelled rows" in note for note in made.notes)


def test_what_no_label_is_of_is_noted(tmp_path):
    file = read_split_file(write(tmp_path, "slide,fold,patient\na.svs,1,p\nb.svs,2,p\nc.svs,3,p\nb.svs,2,p\n"))
    assert file.by == "slide_id"
    values, names, notes = file.place(np.array([0, 1]), ("b.svs", "a.svs"))
    assert [names[value] for value in values] == ["2", "1"]
    assert notes == ("split file split.csv: no label is of 1 of its slides: c.svs",)


def test_a_file_of_other_slides_is_an_error_that_shows_both(tmp_path):
    file = read_split_file(write(tmp_path, "slide_id,split\nx,train\ny,test\n"))
    with pytest.raises(SplitError, match=r"none of the 2 labelled slides; it has 'x' and 'y', .* 'a.svs' and 'b.svs'"):
        file.place(np.array([0, 1]), ("a.svs", "b.svs"))


def test_slides_may_be_named_without_folder_and_ending(tmp_path):
    file = read_split_file(write(tmp_path, "Slide;Split\na;train\nb.svs;test\n"))
    values, names, notes = file.place(np.array([0, 1]), ("x/a.svs", "x/b.svs"))
    assert ([names[value] for value in values], notes) == (["train", "test"], ())
    with pytest.raises(SplitError, match=r"names a slide 'a', which may be 'x/a.svs' and 'y/a.svs'"):
        file.place(np.array([0, 1]), ("x/a.svs", "y/a.svs"))
    file = read_split_file(write(tmp_path, "slide,split\na,train\na.svs,test\n"))
    with pytest.raises(SplitError, match=r"'a.svs', of 'test' here and of 'train' by another name"):
        file.place(np.array([0]), ("a.svs",))


def test_missing_parts_and_patients_are_not_names(tmp_path):
    with pytest.raises(SplitError, match=r"split.csv, line 3: no split; expected one in each row"):
        read_split_file(write(tmp_path, "patient,split\n101.0,train\n102.0,NA\n"))
    file = read_split_file(write(tmp_path, "patient,split\n101.0,train\n102.0,test\n"))
    assert file.parts == {"101": "train", "102": "test"}
    assert file.place(np.array([0, 1]), ("101", "102"))[2] == file.notes != ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty; expected a header"),
        ("slide_id,part\na,train\n", "with the columns slide_id and part; expected"),
        ("slide_id,split,fold\na,train,1\n", "one of split and fold"),
        ("split\ntrain\n", "expected one of slide_id and patient"),
        ("slide_id,split\n", "a header and no rows"),
        ("slide_id,split\na,train\nb\n", r"has 1 value\(s\) in line 3; expected 2"),
        ("slide_id,split\na,train\nb,\n", "line 3: no split"),
        ("slide_id,split\n,train\n", "line 2: no slide_id"),
        ("patient,split\np,train\nq,test\np,test\n", "line 4: patient 'p' is of 'test' here, of 'train' above"),
    ],
)
def test_a_malformed_file(tmp_path, text, message):
    with pytest.raises(SplitError, match=message):
        read_split_file(write(tmp_path, text))


def test_a_file_that_is_not_there_or_no_text(tmp_path):
    with pytest.raises(SplitError, match="cannot be read"):
        read_split_file(tmp_path / "none.csv")
    (tmp_path / "picture.csv").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0")
    with pytest.raises(SplitError, match="NUL"):
        read_split_file(tmp_path / "picture.csv")


def test_the_folds_of_patho_bench_are_taken_as_they_are(tmp_path):
    path = tmp_path / "k=all.tsv"
    rows = (
        "P0\ta\t1\ttrain\ttest",
        "P1\tb\t0\tval\ttrain",
        "P2\tc\t1\ttest\tval",
        "P2\td\t1\ttest\tval",
        "P3\te\t1\t\ttrain",
    )
    path.write_text("case_id\tslide_id\tTP53\tfold_0\tfold_1\n" + "\n".join(rows) + "\n")
    file = read_split_file(path)
    values, names, notes = file.place(np.arange(5), ("a.svs", "b.svs", "c.svs", "d.svs", "e.svs"))
    config = SplitConfig(kind="file", file=str(path))
    made = make_split(config, groups=np.array([0, 1, 2, 2, 3]), strata=np.ones((5, 1), bool), classes=["a"],
                      values=values, value_names=names)  # fmt: skip
    assert (made.names, notes) == (("fold_0", "fold_1"), ())
    np.testing.assert_array_equal(made.parts, [[TRAIN, VALID, TEST, TEST, UNUSED], [TEST, TRAIN, VALID, VALID, TRAIN]])
    with pytest.raises(SplitError, match=r"1 patient of 4 would be on both sides"):
        make_split(config, groups=np.array([0, 1, 2, 0, 3]), strata=np.ones((5, 1), bool), classes=["a"],
                   values=values, value_names=names)  # fmt: skip
    path.write_text("case_id\tslide_id\tTP53\tfold_0\nP0\ta\t1\tsome\nP1\tb\t1\ttest\nP2\tc\t1\ttrain\n")
    values, names, _ = read_split_file(path).place(np.arange(3), ("a", "b", "c"))
    with pytest.raises(SplitError, match=r"fold_0 of the given split has 'some'"):
        make_split(config, groups=np.arange(3), strata=np.ones((3, 1), bool), classes=["a"], values=values,
                   value_names=names)  # fmt: skip
