"""Imports point one way, and importing a package pulls in nothing heavy that it does not need."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.packaging.sources import PACKAGES, REPOSITORY, imported_names, source_files

# Third parties that have one home each.
HOMES = {
    "torch": "embedstore/extractors/",
    "torchvision": "embedstore/extractors/",
    "timm": "embedstore/extractors/",
    "lance": "embedstore/store/",
    "lancedb": "embedstore/store/",
    "sqlglot": "embedstore/search/",
    "ray": "actors/",
    "jax": "heads/",
    "jaxlib": "heads/",
    "flax": "heads/",
    "optax": "heads/",
}

RAY, JAX, TORCH, LANCE = (
    {"ray"},
    {"jax", "jaxlib", "flax", "optax"},
    {"torch", "torchvision", "timm"},
    {"lance", "lancedb"},
)
EVERYTHING_HEAVY = RAY | JAX | TORCH | LANCE | {"cv2", "numpy", "pyarrow", "PIL", "tifffile", "openslide"}

# What a fresh interpreter must not hold after an import.
PURE = {
    "actors.reader": RAY | JAX | TORCH | LANCE,  # up to 16 processes beside each extractor
    "embedstore": EVERYTHING_HEAVY,
    "embedstore.config": EVERYTHING_HEAVY,
    "embedstore.errors": EVERYTHING_HEAVY,
    "embedstore.slides": RAY | JAX | TORCH | LANCE,
    "synthetic_slides": RAY | JAX | TORCH | LANCE,
    "heads.select.candidates": RAY | JAX | TORCH,
    "embedstore.export": RAY | JAX | TORCH,
    "embedstore.extractors": RAY | JAX | TORCH | LANCE,
    "embedstore.store": RAY | JAX | TORCH,
    "embedstore.views": RAY | JAX | TORCH | LANCE,
    "heads": RAY | TORCH,
    "cli.main": EVERYTHING_HEAVY,
}


def modules_after(*names: str) -> set[str]:
    """Top-level modules that a fresh interpreter holds after it imported these."""
    code = "import importlib, json, sys\nfor name in sys.argv[1:]: importlib.import_module(name)\n"
    code += "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    done = subprocess.run(
        [sys.executable, "-c", code, *names], cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, f"import of {', '.join(names)} failed:\n{done.stderr}"
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(PURE))
def test_package_imports_nothing_heavy(name):
    assert not modules_after(name) & PURE[name]


def test_commands_import_nothing_heavy_at_module_level():
    names = [f"cli.{path.stem}" for path in source_files() if path.parent == Path("cli") and path.stem != "__init__"]
    assert not modules_after(*names) & EVERYTHING_HEAVY


def test_imports_point_one_way():
    wrong = []
    for path in source_files():
        rank = PACKAGES.index(path.parts[0])
        for line, name in imported_names(path):
            top = name.partition(".")[0]
            if top in PACKAGES and PACKAGES.index(top) > rank:
                wrong.append(f"{path}:{line} imports {name}")
    assert not wrong, "\n".join(wrong)


def test_third_parties_stay_at_home():
    wrong = []
    for path in source_files():
        for line, name in imported_names(path):
            home = HOMES.get(name.partition(".")[0])
            if home and not path.as_posix().startswith(home):
                wrong.append(f"{path}:{line} imports {name}, whose only home is {home}")
    assert not wrong, "\n".join(wrong)


def test_packages_hold_only_reexports():
    """An `__init__.py` defines nothing."""
    import ast

    from tests.packaging.sources import syntax_tree

    allowed = (ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign, ast.Expr)
    inits = [path for path in source_files() if path.name == "__init__.py"]
    wrong = [str(path) for path in inits for node in syntax_tree(path).body if not isinstance(node, allowed)]
    assert inits and not wrong
