"""The notebooks run, and show what they are kept with."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.docs.blocks import REPOSITORY

FOLDER = REPOSITORY / "docs" / "notebooks"


def outputs(path: Path) -> list[list[list[str]]]:
    """The kinds of output of each code cell."""
    cells: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [
        [sorted(output.get("data", [])) for output in cell["outputs"]] for cell in cells if cell["cell_type"] == "code"
    ]


@pytest.mark.slow
def test_notebooks_run_and_show_what_they_are_kept_with(tmp_path: Path):
    paths = [str(REPOSITORY), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, str(FOLDER / "run.py"), str(tmp_path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
        capture_output=True, text=True, check=False, timeout=1200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    notebooks = sorted(FOLDER.glob("*.ipynb"))
    assert notebooks
    for path in notebooks:
        shown = outputs(tmp_path / path.name)
        assert shown == outputs(path)
        assert any("image/png" in kinds or "image/jpeg" in kinds for cell in shown for kinds in cell)
