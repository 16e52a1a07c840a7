"""Changes of inputs: of the bytes of any file, and of the values of JSON and tables."""

import gzip
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

#: Text that programs and people write, and few expect.
WORDS = (
    "", " ", "NA", "nan", "None", "null", "true", "no", "0", "-1", "1.0", "1e999", "-0", "007", "20E4567", "9" * 30,
    "a,b", "a;b", 'a"b', "it's", "`", "a\tb", "a\nb", "a\r\nb", "a\0b", "../..", "/", ".", "~", "C:\\a", "_rowid", "",
    "Опухоль", "腫瘍", "e\u0301", "\u200b", "\ufeff", "\u202e", "😀", "a" * 300, "%s", "{}", "${HOME}", "\x1b[31m",
    "\x85",
)  # fmt: skip
#: Numbers at the edges of types and ranges.
NUMBERS = (
    0, 1, -1, 2, 255, 256, 256.0, 0.5, -0.5, 2**31 - 1, 2**31, 2**32, 2**53 + 1, 2**63 - 1, 2**63, -(2**63) - 1, 2**64,
    10**30, 10**400, 1e-320, 1e308, -1e308, float("inf"), float("-inf"), float("nan"),
)  # fmt: skip
#: A value of any type, that JSON can have.
VALUES: SearchStrategy[Any] = st.one_of(
    st.sampled_from(WORDS), st.sampled_from(NUMBERS), st.sampled_from([None, True, False, [], {}, [[]], {"": None}]),
    st.lists(st.sampled_from([*WORDS, *NUMBERS, None, True, []]), max_size=3),
    st.dictionaries(st.sampled_from(WORDS), st.sampled_from([*WORDS, *NUMBERS]), max_size=2),
)  # fmt: skip
_TOKENS = (
    *(word.encode() for word in WORDS), b"[", b"]", b"{", b"}", b'"', b"'", b",", b";", b"=", b"<", b">", b"\n",
    b"\r\n", b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"\xe4", b"1e999", b"-", b"NaN", b"<!--", b"/*",
)  # fmt: skip
#: What headers of TIFF and DICOM and footers of Parquet break at: sizes, counts and offsets of 1 to 8 bytes.
EDGES = (0, 1, 2, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 1 << 20, 0x7FFFFFFF, 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF)
_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?")


@st.composite
def changed_bytes(draw: DrawFn, seeds: SearchStrategy[bytes], *, changes: int = 3) -> bytes:
    """Up to some changes of an input's bytes, and at times another encoding of all of them."""
    data = draw(seeds)
    for change in draw(st.lists(st.sampled_from(_CHANGES), max_size=changes)):
        data = change(draw, data)
    return draw(st.sampled_from(_ENCODINGS))(data) if draw(st.integers(0, 7)) == 7 else data


def _span(draw: DrawFn, data: bytes) -> tuple[int, int]:
    start = draw(st.integers(0, len(data)))
    return start, min(start + draw(st.sampled_from([0, 1, 2, 4, 16, 64, 1024])), len(data))


def _replaced(draw: DrawFn, data: bytes) -> bytes:
    start, end = _span(draw, data)
    return data[:start] + draw(st.sampled_from(_TOKENS)) + data[end:]


def _repeated(draw: DrawFn, data: bytes) -> bytes:
    start, end = _span(draw, data)
    return data[:end] + data[start:end] * draw(st.sampled_from([1, 2, 100])) + data[end:]


def _flipped(draw: DrawFn, data: bytes) -> bytes:
    if not data:
        return data
    at = draw(st.integers(0, len(data) - 1))
    return data[:at] + bytes([data[at] ^ (1 << draw(st.integers(0, 7)))]) + data[at + 1 :]


def _cut(draw: DrawFn, data: bytes) -> bytes:
    return data[: draw(st.integers(0, len(data)))]


def _renumbered(draw: DrawFn, data: bytes) -> bytes:
    places = list(_NUMBER.finditer(data))
    if not places:
        return data
    place = draw(st.sampled_from(places))
    return data[: place.start()] + str(draw(st.sampled_from(NUMBERS))).encode() + data[place.end() :]


_CHANGES: Sequence[Callable[[DrawFn, bytes], bytes]] = (_replaced, _repeated, _flipped, _cut, _renumbered)
_ENCODINGS: Sequence[Callable[[bytes], bytes]] = (
    lambda data: b"\xef\xbb\xbf" + data,
    lambda data: data.decode("utf-8", "replace").encode("utf-16"),
    lambda data: data.decode("utf-8", "replace").encode("utf-16-be"),
    lambda data: data.decode("utf-8", "replace").encode("latin-1", "replace"),
    lambda data: data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"),
    lambda data: data.replace(b"\n", b"\r"),
    lambda data: gzip.compress(data, mtime=0),
    lambda data: gzip.compress(data, mtime=0)[: len(data) // 2],
)


@st.composite
def changed_tree(draw: DrawFn, seeds: SearchStrategy[Any], *, changes: int = 3) -> Any:
    """Up to some changes of values, names and members of what JSON can hold."""
    tree = draw(seeds)
    for _ in range(draw(st.integers(0, changes))):
        places = list(_places(tree))
        tree = _with(tree, draw(st.sampled_from(places)), draw) if places else draw(VALUES)
    return tree


def _places(tree: Any, path: tuple[Any, ...] = ()) -> Any:
    yield path
    items = tree.items() if isinstance(tree, Mapping) else enumerate(tree) if isinstance(tree, list) else ()
    for name, value in items:
        yield from _places(value, (*path, name))


def _with(tree: Any, path: tuple[Any, ...], draw: DrawFn) -> Any:
    """The tree with another value, name or number of members at a place."""
    if not path:
        return draw(VALUES)
    first, *rest = path
    copy = dict(tree) if isinstance(tree, Mapping) else list(tree)
    how = "value" if rest else draw(st.sampled_from(["value", "value", "value", "remove", "rename", "wrap", "repeat"]))
    if rest:
        copy[first] = _with(copy[first], tuple(rest), draw)
    elif how == "remove":
        del copy[first]
    elif how == "rename" and isinstance(copy, dict):
        copy[draw(st.sampled_from(WORDS)) if draw(st.booleans()) else f"{first}s"] = copy.pop(first)
    elif how == "repeat" and isinstance(copy, list):
        copy[first:first] = [copy[first]] * draw(st.sampled_from([1, 50]))
    elif how == "wrap":
        copy[first] = draw(st.sampled_from([[copy[first]], {"a": copy[first]}, str(copy[first])]))
    else:
        copy[first] = draw(VALUES)
    return copy


def as_json(trees: SearchStrategy[Any]) -> SearchStrategy[bytes]:
    """The bytes of a JSON file; NaN and Infinity are written, as Python and QuPath do."""
    return trees.map(lambda tree: json.dumps(tree).encode())


@st.composite
def changed_numbers(draw: DrawFn, seeds: SearchStrategy[bytes]) -> bytes:
    """A file with other numbers in up to three places, half of them near an end, where formats keep their structure."""
    data = draw(seeds)
    for _ in range(draw(st.integers(0, 3))):
        near = draw(st.integers(0, 1200))
        places = [near, len(data) - 1 - near, draw(st.integers(0, len(data)))]
        at, size = max(0, min(draw(st.sampled_from(places)), len(data))), draw(st.sampled_from([1, 2, 4, 8]))
        number = draw(st.sampled_from(EDGES)) & (256**size - 1)
        data = data[:at] + number.to_bytes(size, "little") + data[at + size :]
    return data
