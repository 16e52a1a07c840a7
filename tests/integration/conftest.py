"""Small synthetic slides, and the command line: in this process, or as a user runs it."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from cli.main import main
from synthetic_slides import write_slide

#: The installed command.
PROGRAM = Path(sys.executable).parent / "embedstore"

#: An extractor that takes its time, and waits after some batches of a process while a file is there: a run is in the
#: middle of its work then, however quick the machine is, and ends soon after the file was deleted. It makes another
#: file, of that name and `.reached`.
HELD = """
import itertools
import time
from pathlib import Path

from embedstore.extractors import load_extractor

HOLD = Path({hold!r})


def make():
    extractor = load_extractor("colour-12", device="cpu")
    embed, batches = extractor.embed, itertools.count()

    def slowly(pixels):
        time.sleep(0.05)
        if next(batches) >= {batches}:
            HOLD.with_suffix(".reached").touch()
            while HOLD.exists():
                time.sleep(0.02)
        return embed(pixels)

    extractor.embed = slowly
    return extractor
"""


@dataclass
class Ended:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


def embedstore(*args: object) -> Ended:
    """Run the entry point of the command in this process, which has imported its libraries already."""
    with CliRunner().isolation() as (out, err, _), pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["embedstore", *map(str, args)])
        code = 0
        try:
            main()
        except SystemExit as ended:
            code = int(ended.code or 0)
        sys.stdout.flush()
        sys.stderr.flush()
        return Ended(code, out.getvalue().decode(), err.getvalue().decode())


def embedstore_process(*args: object, cwd: Path | None = None) -> Ended:
    """Run the installed command in a process of its own: where Ray, signals or the working folder matter."""
    done = subprocess.run([PROGRAM, *map(str, args)], capture_output=True, text=True, cwd=cwd, timeout=900)
    return Ended(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="session")
def slides(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of three small slides with metadata, and one torn file."""
    folder = tmp_path_factory.mktemp("slides")
    for i in range(3):
        write_slide(folder / f"s{i}.svs", size_px=(1536, 1280), seed=i)
    (folder / "torn.svs").write_bytes(b"II*\0" + b"nothing of a slide")
    rows = ["path,patient,stain", *(f"s{i}.svs,P{i // 2},HE" for i in range(3)), "torn.svs,P9,HE"]
    (folder / "slides.csv").write_text("\n".join(rows) + "\n")
    return folder
