"""Imports point one way, and importing a package pulls in nothing heavy that it does not need."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.packaging.sources import PACKAGES, REPOSITORY, circles_of, import_graph, imports, source_files

SHARED_BY_EXTRACTORS = (
    "embedstore.extractors.config", "embedstore.extractors.spec", "embedstore.extractors.extractor",
    "embedstore.extractors.text_tower", "embedstore.extractors.torch_extractor",
)  # fmt: skip
#: Floors of the house, lowest first: a module imports only from its own floor and those below it.
LAYERS = (
    ("embedstore",),  # errors, configuration and other files that stand alone
    ("embedstore.tables",),
    ("embedstore.annotations",),
    ("embedstore.slides.resize",),
    ("embedstore.slides.slide",),
    ("embedstore.slides.image_file",),
    ("embedstore.slides.readers",),
    ("embedstore.slides.remote",),
    ("embedstore.slides.sources",),
    ("embedstore.slides.tissue",),
    ("embedstore.slides.tiling",),
    ("embedstore.slides",),  # hands on the names of its sub-packages
    ("embedstore.views",),
    ("embedstore.extractors.builtin", "embedstore.extractors.networks", *SHARED_BY_EXTRACTORS),
    ("embedstore.extractors",),
    ("embedstore.layouts",),
    ("embedstore.store",),
    ("embedstore.labels.files", "embedstore.labels.class_colours"),
    ("embedstore.labels",),
    ("embedstore.search.queries", "embedstore.search.filters", "embedstore.search.tile_sample"),
    ("embedstore.search.parallel",),
    ("embedstore.search.audits",),
    ("embedstore.search",),
    ("embedstore.export.pictures", "embedstore.export.tile_squares", "embedstore.export.table_file"),
    ("embedstore.export.predictions", "embedstore.export.hits"),
    ("embedstore.export",),
    ("embedstore.maps",),
    ("embedstore.encoders",),
    ("synthetic_slides",),
    ("heads.config", "heads.devices", "heads.moments", "heads.prompts", "heads.tasks", "heads.bags"),
    ("heads.encoded_bags",),
    ("heads.networks", "heads.splitting"),
    ("heads.evaluation",),
    ("heads.labelled", "heads.examples", "heads.record", "heads.stored_examples"),
    ("heads.augmentation",),
    ("heads.training",),
    ("heads",),
    ("heads.active", "heads.cohorts"),
    ("heads.select",),
    ("actors",),
    ("embedstore.api",),
    ("embedstore.client",),
    ("embedstore.service",),
    ("cli",),
)

# Third parties that have one home each.
HOMES = {
    "torch": "embedstore/extractors/",
    "torchvision": "embedstore/extractors/",
    "timm": "embedstore/extractors/",
    "h5py": "embedstore/layouts/",  # files of other tools, in and out
    "tensorstore": "embedstore/zarr_files.py",
    "open_clip": "embedstore/extractors/",
    "transformers": "embedstore/extractors/",
    "obstore": "embedstore/slides/remote/",
    "openslide": "embedstore/slides/readers/",  # behind which slides are decoded in a process of their own
    "lance": "embedstore/store/",
    "lancedb": "embedstore/store/",
    "sqlglot": "embedstore/search/",
    "faiss": "embedstore/search/hot/",
    "pacmap": "embedstore/maps/",
    "fastapi": "embedstore/service/",
    "starlette": "embedstore/service/",
    "uvicorn": "embedstore/service/",
    "prometheus_client": "embedstore/service/",
    "httpx2": "embedstore/client/",
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
EVERYTHING_HEAVY = RAY | JAX | TORCH | LANCE | {"cv2", "numpy", "pyarrow", "PIL", "tifffile", "openslide", "obstore"}

# What a fresh interpreter must not hold after an import.
PURE = {
    "actors.reader": RAY | JAX | TORCH | LANCE,  # up to 16 processes beside each extractor
    "embedstore": EVERYTHING_HEAVY,
    "embedstore.client": RAY | JAX | TORCH | LANCE | {"fastapi", "starlette", "cv2", "PIL"},
    "embedstore.config": EVERYTHING_HEAVY,
    "embedstore.errors": EVERYTHING_HEAVY,
    "embedstore.slides": RAY | JAX | TORCH | LANCE | {"obstore"},  # only for an address
    "synthetic_slides": RAY | JAX | TORCH | LANCE,
    "heads.active": RAY | JAX | TORCH,  # a service proposes tiles
    "heads.cohorts.evaluate_cohorts": RAY | JAX | TORCH,
    "heads.head": RAY | JAX | TORCH,
    "heads.predict": RAY | JAX | TORCH,
    "heads.select": RAY | TORCH,
    "embedstore.encoders": RAY | JAX | TORCH,
    "embedstore.export": RAY | JAX | TORCH | {"anndata", "h5py"},  # a montage needs no files of other tools
    "embedstore.layouts": RAY | JAX | TORCH | LANCE,
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
        [sys.executable, "-c", code, *names], cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, f"import of {', '.join(names)} failed:\n{done.stderr}"
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_embedstore_hands_on_its_names_without_importing_them():
    assert not modules_after("embedstore") & EVERYTHING_HEAVY
    import embedstore

    assert set(dir(embedstore)) == set(embedstore.__all__)
    for name in embedstore.__all__:
        assert getattr(embedstore, name) is not None
    assert embedstore.errors.EmbedStoreError and embedstore.progress.no_progress
    assert embedstore.SplitConfig(folds=3) == embedstore.FitConfig(split=embedstore.SplitConfig(folds=3)).split
    with pytest.raises(AttributeError, match="no_such_name"):
        embedstore.no_such_name  # noqa: B018


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(PURE))
def test_package_imports_nothing_heavy(name):
    assert not modules_after(name) & PURE[name]


def test_commands_import_nothing_heavy_at_module_level():
    names = [f"cli.{path.stem}" for path in source_files() if path.parent == Path("cli") and path.stem != "__init__"]
    assert not modules_after(*names) & EVERYTHING_HEAVY


def layer_of(module: str) -> int:
    """The floor of a module in LAYERS: that of the longest name that it begins with."""
    floors = [(len(name), floor) for floor, names in enumerate(LAYERS) for name in names if _is_in(module, name)]
    return max(floors)[1]


def _is_in(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def test_imports_point_one_way():
    wrong = [
        f"{module} imports {imported}, which stands above it"
        for module, targets in import_graph().items()
        for imported in targets
        if layer_of(imported) > layer_of(module) and module != "embedstore"  # which hands on the names of its API
    ]
    assert not wrong, "\n".join(wrong)


def test_no_module_imports_itself_by_way_of_others():
    """Imports inside functions and for type checkers alone count: they are the same circle for a reader."""
    graph = {module: targets for module, targets in import_graph().items() if module != "embedstore"}
    circles = [sorted(circle) for circle in circles_of(graph)]
    assert not circles, "\n".join(" <-> ".join(circle) for circle in circles)


def test_every_import_of_the_project_exists():
    modules = set(import_graph())
    wrong = []
    for path in source_files():
        for line, name, _ in imports(path):
            if name.partition(".")[0] in PACKAGES and name not in modules:
                wrong.append(f"{path}:{line} imports {name}, which there is not")
    assert not wrong, "\n".join(wrong)


def test_nothing_inside_imports_the_names_that_embedstore_hands_on():
    wrong = [module for module, targets in import_graph().items() if "embedstore" in targets]
    assert not wrong, wrong


def test_third_parties_stay_at_home():
    wrong = []
    for path in source_files():
        for line, name, _ in imports(path):
            home = HOMES.get(name.partition(".")[0])
            if home and not path.as_posix().startswith(home):
                wrong.append(f"{path}:{line} imports {name}, whose only home is {home}")
    assert not wrong, "\n".join(wrong)


def test_packages_hold_only_reexports():
    """An `__init__.py` defines nothing; that of embedstore also hands its names on when they are first used."""
    import ast

    from tests.packaging.sources import syntax_tree

    allowed = (ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign, ast.Expr)
    inits = [path for path in source_files() if path.name == "__init__.py" and path != Path("embedstore/__init__.py")]
    wrong = [str(path) for path in inits for node in syntax_tree(path).body if not isinstance(node, allowed)]
    assert inits and not wrong


def test_benchmarks_have_no_circles():
    folder = REPOSITORY / "benchmarks"
    names = {path.stem for path in folder.glob("*.py")}
    graph = {
        name: {imported for _, imported, _ in imports(Path("benchmarks", f"{name}.py")) if imported in names}
        for name in names
    }
    assert not circles_of(graph)


def test_only_tests_of_the_command_line_and_of_whole_ways_import_it():
    """What can be tested without it is tested on the library or its API; benchmarks run the command, if anything."""
    may = {"cli", "integration", "faults", "docs", "packaging"}
    files = [
        path.relative_to(REPOSITORY) for top in ("tests", "benchmarks") for path in (REPOSITORY / top).rglob("*.py")
    ]
    wrong = [
        f"{path}:{line} imports {name}"
        for path in files
        if not (path.parts[0] == "tests" and path.parts[1] in may)
        and re.search(r"\bcli\b", (REPOSITORY / path).read_text(encoding="utf-8"))  # parsing all takes a second
        for line, name, _ in imports(path)
        if _is_in(name, "cli")
    ]
    assert files and not wrong, "\n".join(wrong)
