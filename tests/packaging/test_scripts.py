"""Scripts beside the packages import names that exist: no test runs each of them."""

import ast
from functools import cache
from pathlib import Path

import pytest

from tests.packaging.sources import PACKAGES, REPOSITORY, imports, module_name, source_files, syntax_tree

SCRIPTS = sorted(path.relative_to(REPOSITORY) for path in (REPOSITORY / "benchmarks").rglob("*.py"))


def names_of(tree: ast.AST) -> set[str]:
    """What a module binds at its top, also below an `if` or a `try`, and the names that it loads when asked."""
    found: set[str] = set()
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= {alias.asname or alias.name.partition(".")[0] for alias in node.names}
        else:
            held = [each for each in ast.walk(node) if isinstance(each, ast.Name | ast.Constant)]
            found |= {each.id if isinstance(each, ast.Name) else str(each.value) for each in held}
            found |= names_of(node)
    return found


@cache
def names_of_module(path: Path) -> set[str]:
    return names_of(syntax_tree(path))


@pytest.mark.parametrize("script", SCRIPTS, ids=str)
def test_what_a_benchmark_imports_exists(script: Path):
    modules = {module_name(path): path for path in source_files()}
    unknown = []
    for line, module, names in imports(script):
        if names and module.partition(".")[0] in PACKAGES:
            known = names_of_module(modules[module]) if module in modules else set()
            missing = {name for name in names if f"{module}.{name}" not in modules} - known
            unknown += [f"line {line}: {module} has no {name}" for name in sorted(missing)]
    assert not unknown
