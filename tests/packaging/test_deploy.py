"""The files of deploy/ fit the package: versions, flags, resources; and the schemas of what takes them."""

import importlib.util
import json
import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import click
import jsonschema
import pytest
import yaml

from cli.ingest import command as ingest
from embedstore.version import __version__
from tests.packaging.sources import REPOSITORY

DEPLOY = REPOSITORY / "deploy"
CONSTRAINTS = (REPOSITORY / "constraints.txt").read_text(encoding="utf-8")


def load(name: str) -> Any:
    return yaml.safe_load((DEPLOY / name).read_text(encoding="utf-8"))


def options(text: str) -> dict[str, Any]:
    """The options of the `embedstore ingest` in a text, as the command takes them."""
    words = shlex.split(text[text.index("embedstore ingest") :].split("||")[0].replace("…", ""))
    values, _, _ = ingest.make_parser(click.Context(ingest)).parse_args(words[2:])
    return values


JOB = load("rayjob.yaml")
CLUSTER = JOB["spec"]["rayClusterSpec"]
(WORKERS,) = CLUSTER["workerGroupSpecs"]
(WORKER,) = WORKERS["template"]["spec"]["containers"]
(HEAD,) = CLUSTER["headGroupSpec"]["template"]["spec"]["containers"]


def test_the_job_of_kubernetes_has_this_version_everywhere():
    assert JOB["apiVersion"] == "ray.io/v1" and JOB["kind"] == "RayJob"
    assert f"ray=={CLUSTER['rayVersion']}\n" in CONSTRAINTS
    assert {HEAD["image"], WORKER["image"], load("ray-up.yaml")["docker"]["image"]} == {
        f"REGISTRY/embedstore:{__version__}"
    }


def test_what_the_run_asks_for_is_what_its_nodes_have():
    asked = options(JOB["spec"]["entrypoint"])
    limits = WORKER["resources"]["limits"]
    assert asked["address"] == "auto" and asked["device"] == "cuda" and limits["nvidia.com/gpu"] == "1"
    assert int(asked["readers"]) + 1 == int(limits["cpu"])
    assert int(asked["max_extractors"]) == WORKERS["maxReplicas"]
    for container in (HEAD, WORKER):
        assert container["resources"]["requests"] == container["resources"]["limits"]
    assert CLUSTER["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    assert CLUSTER["enableInTreeAutoscaling"] and WORKERS["minReplicas"] == 0


def test_the_entry_point_is_one_line_that_a_shell_runs(tmp_path: Path):
    """KubeRay puts it into a line of a shell, and Ray quotes its words again for another one."""
    (tmp_path / "embedstore").write_text("#!/bin/sh\nexit $CODE\n")
    (tmp_path / "embedstore").chmod(0o755)
    words = shlex.split(JOB["spec"]["entrypoint"])
    assert "\n" not in JOB["spec"]["entrypoint"] and words[:2] == ["sh", "-c"]
    for code, ended in ((0, 0), (3, 0), (1, 1)):
        environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "CODE": str(code)}
        assert subprocess.run(shlex.join(words), shell=True, env=environment).returncode == ended


def test_ray_up_takes_its_file():
    found = importlib.util.find_spec("ray")
    assert found is not None and found.origin is not None
    schema = json.loads((Path(found.origin).parent / "autoscaler" / "ray-schema.json").read_text())
    config = load("ray-up.yaml")
    jsonschema.validate(config, schema)
    assert config["head_node_type"] in config["available_node_types"]
    spot = config["available_node_types"]["gpu-spot"]
    assert spot["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    assert spot["max_workers"] == config["max_workers"] and spot["resources"]["GPU"] == 1


@pytest.mark.parametrize("name", ["slurm.sh", "slurm-array.sh"])
def test_the_scripts_of_slurm_are_bash_that_calls_the_command_as_it_is(name: str):
    text = (DEPLOY / name).read_text(encoding="utf-8")
    subprocess.run([shutil.which("bash") or "bash", "-n", str(DEPLOY / name)], check=True)
    assert options(re.sub(r' "\$@".*', "", text[text.index('embedstore ingest "$slides"') :].split("\n")[0]))["store"]


def test_the_image_has_what_the_wheel_is_made_of():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    text = (DEPLOY / "Containerfile").read_text(encoding="utf-8")
    copied = set(re.findall(r"^COPY (\w+) \1$", text, re.MULTILINE))
    assert copied == set(project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])
    assert "cluster" in project["project"]["optional-dependencies"] and ".whl)[cluster]" in text
    assert all((REPOSITORY / name).exists() for name in ("pyproject.toml", "README.md", "LICENSE", "constraints.txt"))


def test_the_documents_tell_of_every_file():
    page, security = ((REPOSITORY / name).read_text(encoding="utf-8") for name in ("docs/cluster.md", "SECURITY.md"))
    files = [path.name for path in DEPLOY.iterdir()]
    assert files and not [name for name in files if f"deploy/{name}" not in page + security]
    for line in re.findall(r"embedstore ingest [^`]*?--address auto[^\n`]*", page):
        options(line.replace("\\\n", " "))
