"""The project's own source files, as the packaging tests read them."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGES = ("embedstore", "synthetic_slides", "heads", "actors", "cli")
#: What statements stand in, and they themselves.
BLOCKS = (ast.stmt, ast.excepthandler, ast.match_case)


@cache
def source_files() -> tuple[Path, ...]:
    """Every Python file of the packages, relative to the repository."""
    found = (path for package in PACKAGES for path in sorted((REPOSITORY / package).rglob("*.py")))
    return tuple(path.relative_to(REPOSITORY) for path in found)


@cache
def source_text(path: Path) -> str:
    return (REPOSITORY / path).read_text(encoding="utf-8")


def files_with(pattern: str) -> list[Path]:
    """The packages' files in whose text a pattern is found: to parse all of them takes half a second."""
    return [path for path in source_files() if re.search(pattern, source_text(path), flags=re.MULTILINE)]


def syntax_tree(path: Path) -> ast.Module:
    """The tree of a file, parsed anew: trees of all files are half a million objects for the garbage collector."""
    return ast.parse(source_text(path), filename=str(path))


def statements(path: Path) -> Iterator[ast.stmt | ast.excepthandler | ast.match_case]:
    """Every statement of a file, those inside others included; most of a tree is expressions."""
    waiting: list[ast.AST] = [syntax_tree(path)]
    while waiting:
        parts = ast.iter_fields(waiting.pop())
        found = [part for _, field in parts if isinstance(field, list) for part in field if isinstance(part, BLOCKS)]
        yield from found
        waiting += found


class Import(NamedTuple):
    """A module that is imported, with the names that are taken from it."""

    line: int
    module: str
    names: tuple[str, ...] = ()


@cache
def imports(path: Path) -> tuple[Import, ...]:
    """Every import of a file, those inside functions included; a relative one begins with its dots."""
    found = []
    for node in statements(path):
        if isinstance(node, ast.Import):
            found += [Import(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = tuple(alias.name for alias in node.names)
            found.append(Import(node.lineno, "." * node.level + (node.module or ""), names))
    return tuple(found)


def module_name(path: Path) -> str:
    """`embedstore.store.table` of embedstore/store/table.py; a package's own name of its `__init__.py`."""
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def import_graph() -> dict[str, set[str]]:
    """{module: the project's modules that it imports}, imports inside functions and for type checkers included."""
    modules = {module_name(path) for path in source_files()}
    graph: dict[str, set[str]] = {}
    for path in source_files():
        module = module_name(path)
        targets = set()
        for _, imported, names in imports(path):
            full = {f"{imported}.{name}" for name in names}
            targets |= {name if name in modules else imported for name in full} or {imported}
        graph[module] = (targets & modules) - {module}
    return graph


def circles_of(graph: dict[str, set[str]]) -> list[set[str]]:
    """Sets of modules that import each other in a loop."""
    below = {module: _reachable(graph, module) for module in graph}
    circles: list[set[str]] = []
    for module in graph:
        circle = {other for other in below[module] if module in below.get(other, set())}
        if module in below[module] and circle not in circles:
            circles.append(circle)
    return circles


def _reachable(graph: dict[str, set[str]], start: str) -> set[str]:
    seen: set[str] = set()
    queue = list(graph[start])
    while queue:
        module = queue.pop()
        if module not in seen:
            seen.add(module)
            queue += graph.get(module, ())
    return seen
