"""The project's own source files, as the packaging tests read them."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGES = ("embedstore", "synthetic_slides", "heads", "actors", "cli")


@cache
def source_files() -> tuple[Path, ...]:
    """Every Python file of the packages, relative to the repository."""
    found = (path for package in PACKAGES for path in sorted((REPOSITORY / package).rglob("*.py")))
    return tuple(path.relative_to(REPOSITORY) for path in found)


@cache
def syntax_tree(path: Path) -> ast.Module:
    return ast.parse((REPOSITORY / path).read_text(encoding="utf-8"), filename=str(path))


@cache
def nodes(path: Path) -> tuple[ast.AST, ...]:
    """Every node of a file's syntax tree; one walk serves all who look for some of them."""
    return tuple(ast.walk(syntax_tree(path)))


def imported_names(path: Path) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of every import of a file, those inside functions included."""
    for node in nodes(path):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, "." * node.level + (node.module or "")


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
        for node in nodes(path):
            if isinstance(node, ast.Import):
                targets |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names = {f"{node.module}.{alias.name}" for alias in node.names}
                targets |= {name if name in modules else node.module for name in names}
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
