"""The documentation site: no link is broken, and reading it needs no network."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from embedstore.store import schema
from embedstore.views import PARAMETERS
from tests.docs.blocks import REPOSITORY

#: What a page loads by itself, as opposed to links that a reader may follow.
LOADED = re.compile(r"<(?:script|img|iframe|source)\b[^>]*\bsrc=\"([^\"]+)\"|<link\b[^>]*\bhref=\"([^\"]+)\"")
TABLES = {
    "tiles": schema.tiles_schema(8, {}),
    "slides": schema.SLIDES,
    "outcomes": schema.OUTCOMES,
    "labels": schema.LABELS,
    "heads": schema.HEADS,
    "augmenters": schema.AUGMENTERS,
    "jobs": schema.JOBS,
    "leases": schema.LEASES,
    "runs": schema.RUNS,
}


@pytest.mark.slow
def test_site_is_built_without_a_warning_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="pip install -c constraints.txt -e '.[docs]'")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")],
        cwd=REPOSITORY,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": os.pathsep.join([str(REPOSITORY), *sys.path])},
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr
    pages = list((tmp_path / "site").rglob("*.html"))
    elsewhere = {
        (page.name, address)
        for page in pages
        for found in LOADED.findall(page.read_text(encoding="utf-8"))
        if re.match(r"(https?:)?//", address := "".join(found))
    }
    assert pages and not elsewhere


@pytest.mark.parametrize("table", TABLES)
def test_every_column_is_described(table: str) -> None:
    text = (REPOSITORY / "docs" / "formats.md").read_text(encoding="utf-8")
    assert not [name for name in TABLES[table].names if f"`{name}`" not in text]


def test_every_parameter_of_a_view_is_described() -> None:
    text = (REPOSITORY / "docs" / "formats.md").read_text(encoding="utf-8")
    assert not [name for name in PARAMETERS if f"`{name}`" not in text]
