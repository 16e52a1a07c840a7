"""The tested versions: they fit what pyproject.toml asks for, and say nothing of where they came from."""

import re
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.packaging.sources import REPOSITORY

LINES = [
    line
    for line in (REPOSITORY / "constraints.txt").read_text(encoding="utf-8").splitlines()
    if line.strip() and not line.startswith("#")
]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
VERSIONS = {canonicalize_name(Requirement(line).name): str(Requirement(line).specifier)[2:] for line in LINES}


def _requirements() -> list[str]:
    project = PROJECT["project"]
    extras = [requirement for extra in project["optional-dependencies"].values() for requirement in extra]
    return [*project["dependencies"], *extras, *PROJECT["build-system"]["requires"]]


def test_every_line_is_one_exact_public_version():
    wrong = [line for line in LINES if not re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][0-9a-z.]*", line)]
    assert LINES and not wrong


def test_every_dependency_has_a_tested_version_in_its_range():
    wrong = []
    for requirement in map(Requirement, _requirements()):
        tested = VERSIONS.get(canonicalize_name(requirement.name))
        if tested is None or not requirement.specifier.contains(tested, prereleases=True):
            wrong.append(f"{requirement}: constraints.txt has {tested}; `make constraints` writes it")
    assert not wrong, "\n".join(wrong)


def test_nothing_is_listed_twice():
    assert len(VERSIONS) == len(LINES)


@pytest.mark.parametrize("name", ["constraints.txt", "pyproject.toml", "Makefile", ".ci/run"])
def test_file_names_no_host(name):
    text = (REPOSITORY / name).read_text(encoding="utf-8")
    assert not re.search(r"https?://|--\S*index|--find|--trusted|file:/", text)
