"""The project's own source files, as the packaging tests read them."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGES = ("embedstore", "synthetic_slides", "heads", "actors", "cli")  # each imports only what stands before it


@cache
def source_files() -> tuple[Path, ...]:
    """Every Python file of the packages, relative to the repository."""
    found = (path for package in PACKAGES for path in sorted((REPOSITORY / package).rglob("*.py")))
    return tuple(path.relative_to(REPOSITORY) for path in found)


@cache
def syntax_tree(path: Path) -> ast.Module:
    return ast.parse((REPOSITORY / path).read_text(encoding="utf-8"), filename=str(path))


def imported_names(path: Path) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of every import of a file, those inside functions included."""
    for node in ast.walk(syntax_tree(path)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, "." * node.level + (node.module or "")
