"""Names that are written to be taken for SQL, paths or commands of a terminal are names, and reach nothing else."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import embedstore
from embedstore.errors import ConfigError, EmbedStoreError
from tests.store.golden import make
from tests.store.golden.unpacked import files_of, unpack

NAMES = (
    "' OR '1'='1", "x' OR 1=1 --", "'; DROP TABLE slides; --", "\\' OR 1=1", '" OR ""="', "`", "x`y", "a\0b", "%", "_",
    "' UNION SELECT * FROM tokens --", "../../etc/passwd", "/etc/passwd", "\x1b]0;x\x07", "\ud800", "x'/*", "$1", "",
)  # fmt: skip
FILTERS = (
    "read_csv('/etc/passwd') IS NOT NULL", "glob('/etc/*') IS NULL", "getenv('HOME') = 'a'", "version() = 'a'",
    "file_exists('/etc/passwd')", "load_extension('x')", "EXISTS(SELECT 1)", "input_file_name() = 'a'",
    "slide_id = (SELECT digest FROM tokens)", "slide_id IN (TABLE tokens)", "1 IN (SELECT slide_id FROM slides)",
    "x = 1; DELETE FROM slides", "COPY slides TO 'x'", "vector IS NULL", "_rowid = 1", "now() > now()",
    "repeat('a', 1000000000) = 'a'", "arrow_typeof(x) = 'a'", "slide_id = @@version", "slide_id = $1", "slide_id = ?",
)  # fmt: skip
Use = Callable[[embedstore.Store, str], Any]
#: Where a name that somebody gives reaches the tables, and what must be found of a name that there is not.
LOOKUPS: dict[str, Use] = {
    "slide": lambda store, name: store.slide(name),
    "tile of a slide": lambda store, name: store.tile_at(name, (1, 1)),
    "labels": lambda store, name: store.labels.table(name),
    "labels of an author": lambda store, name: store.labels.remove(task=make.TASK, author=name),
    "task": lambda store, name: store.labels.remove(task=name),
    "change": lambda store, name: store.labels.undo(make.TASK, name, author="ann"),
    "places": lambda store, name: store.labels.withdraw(make.TASK, places=[{"slide_id": name}], author="ann"),
    "keys": lambda store, name: store.labels.withdraw(make.TASK, [name], author="ann").withdrawn,
    "head": lambda store, name: store.head(name),
    "augmenter": lambda store, name: store.augmenter(name),
    "collection": lambda store, name: store.collection(name),
    "removed slide": lambda store, name: store.remove(slides=[name]),
    "removed patient": lambda store, name: store.remove(patients=[name]),
    "removed column": lambda store, name: store.remove_columns([name]),
    "colours": lambda store, name: store.collection().map_colours(name),
    "query by label": lambda store, name: store.collection().query_by_label(name, name),
    "similar slides": lambda store, name: store.collection().similar_slides(name),
    "slides of an encoding": lambda store, name: store.collection().encode_slides("mean", slides=[name]),
    "vectors of slides": lambda store, name: store.collection().slide_vectors(name),
    "slides of an export": lambda store, name: store.head("side").export("out.csv", slides=[name]),
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> embedstore.Store:
    return embedstore.open(unpack("0.1.0-format-1", tmp_path_factory.mktemp("hostile")))


@pytest.mark.parametrize("use", LOOKUPS.values(), ids=LOOKUPS)
def test_a_name_that_there_is_not_finds_nothing(use: Use, store: embedstore.Store):
    for name in NAMES:
        try:
            found = use(store, name)
        except EmbedStoreError:
            continue
        assert not found, (name, found)
    assert len(store.slides) == len(make.SLIDES)
    assert len(store.labels.table(make.TASK)) == len(store.collection().tiles()) - 1


def test_a_name_that_is_written_is_that_name(store: embedstore.Store):
    for name in NAMES:
        try:
            store.labels.add(name, [{"slide_id": "one.tif", "label": name}], author=name)
        except EmbedStoreError as error:
            assert not name.strip() or not name.isprintable(), (name, error)
            continue
        (row,) = store.labels.table(name).to_pylist()
        assert (row["label"], row["author"]) == (name.strip(), name.strip())
        assert store.labels.remove(task=name) == 1


def test_filters_reach_nothing_but_their_columns(store: embedstore.Store):
    before = files_of(Path(store.uri))
    for where in FILTERS:
        with pytest.raises(ConfigError):
            store.collection().tiles(where=where)
        with pytest.raises(ConfigError):
            store.head("side").export("out.csv", where=where)
    assert files_of(Path(store.uri)) == before
