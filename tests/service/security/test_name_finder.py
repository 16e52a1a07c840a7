"""Names are found in texts as a search for each of them would find them."""

import pytest

from embedstore.service.security.name_finder import NameFinder

NAMES = {"case 1.svs": "A", "case 1": "B", "case 10.svs": "C", "sub/case 1.svs": "D", "Ann": "E", "17": "F",
         "4711": "G", "x(y).svs": "H", "case 1.svs.tiff": "I"}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "replaced"),
    [
        ("no slide 'case 1.svs' and case 1: case 1.svs.tiff", "no slide 'A' and B: I"),
        ("case 1.svst, case 11, a case 1_", "B.svst, case 11, a case 1_"),
        ("sub/case 1.svs, other/case 1.svs", "D, other/A"),
        ("(case 10.svs) x(y).svs;", "(C) H;"),
        ("Ann is a word, 'Ann' is a name, and patient Ann too", "Ann is a word, 'E' is a name, and patient E too"),
        ("17 tiles of slide 17, at most 4711; found '4711'", "17 tiles of slide F, at most 4711; found 'G'"),
        ("", ""),
        ("case 1", "B"),
    ],
)
def test_longest_name_that_stands_alone_is_replaced(text: str, replaced: str):
    assert NameFinder(NAMES).replaced(text) == replaced


def test_nothing_is_found_where_there_is_no_name():
    assert NameFinder({}).replaced("slide 'a'") == "slide 'a'"
