"""Names that come with data: of slides and classes, for files of exports, and for columns, tables and web pages."""

from collections.abc import Callable
from pathlib import Path

from hypothesis import strategies as st

from embedstore.output_files import atomic_write, slide_path
from embedstore.store.prediction_schema import probability_columns
from embedstore.store.schema import check_collection_name
from embedstore.store.sql import sql_string
from tests.fuzz.kind import Kind
from tests.fuzz.mutations import WORDS

PARTS = (
    *WORDS, "..", "/", "//", "\\", "C:", "CON", "nul", "~", "a", ".svs", "\0", "\n", "\x1b[2J", "\u202e", "%2e%2e",
    "\ud800", "\udcff", "a" * 250, "é" * 130, "=cmd|' /C calc'!A0", "<script>alert(1)</script>", "' OR 1=1 --",
    "$(touch x)",
)  # fmt: skip
NAMES = st.lists(st.sampled_from(PARTS) | st.text(max_size=5), max_size=6).map("".join)
BYTES = NAMES.map(lambda name: name.encode("utf-8", "surrogatepass"))


def _files(folder: Path) -> Callable[[bytes], object]:
    """A file is written under the name of a slide, and lies in the folder that it was to be in."""
    out = folder / "out"

    def write(data: bytes) -> object:
        name = data.decode("utf-8", "surrogatepass")
        path = slide_path(out, name, ".geojson", single=False)
        with atomic_write(path) as part:
            part.write_text(name, encoding="utf-8", errors="replace")
        assert path.resolve().is_relative_to(out.resolve()) and ".." not in path.parts, path
        path.unlink()
        for above in path.parents:
            if above == folder:
                break
            above.rmdir()
        assert not list(folder.iterdir()), list(folder.rglob("*"))
        return path

    return write


def _tables(folder: Path) -> Callable[[bytes], object]:
    """The name of a collection, a column or a text in SQL."""

    def use(data: bytes) -> object:
        name = data.decode("utf-8", "surrogatepass")
        columns = probability_columns([name, f" {name}"])
        assert len({column.casefold() for column in columns}) == 2
        assert not set("".join(columns)) & set("`.\0\"'; \\/")
        quoted = sql_string(name)
        assert "'" not in quoted[1:-1].replace("''", "")
        allowed = check_collection_name(name)
        assert Path(folder, allowed).parent == folder and not allowed.startswith(".")
        return allowed

    return use


KINDS = [
    Kind(name="name-files", inputs=BYTES, reader=_files, sample=300),
    Kind(name="name-tables", inputs=BYTES, reader=_tables, sample=600),
]
