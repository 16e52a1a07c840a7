"""What killed processes leave among temporary files is deleted; what others work in is not."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from embedstore.process_identity import this_process
from embedstore.temporary_folder import OLD_S, OWNER, make_temporary_folder, temporary_folder

MAKE = """
import time
from embedstore.temporary_folder import make_temporary_folder
folder = make_temporary_folder("index")
(folder / "sample").write_bytes(b"x")
print(folder, flush=True)
time.sleep(60)
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_the_folder_of_a_killed_process_is_deleted_by_the_next(temporary: Path):
    environment = {**os.environ, "TMPDIR": str(temporary)}
    with subprocess.Popen([sys.executable, "-c", MAKE], stdout=subprocess.PIPE, text=True, env=environment) as child:
        folder = Path(child.stdout.readline().strip())
        with temporary_folder("index") as other:
            assert folder.is_dir() and names(temporary) == {folder.name, other.name}
        child.kill()
    with temporary_folder("fit") as other:
        assert names(temporary) == {other.name}
    assert names(temporary) == set()


def test_what_may_be_in_use_stays(temporary: Path):
    space = this_process().rsplit("/", 2)[0]
    owners = {
        "index-ended": f"{space}/{2**22 + 1}/1",
        "index-elsewhere": "another-boot/1/17/3",
        "index-elsewhere-old": "another-boot/1/17/3",
        "index-unknown": None,
        "index-unknown-old": None,
        "fit-just-made": "",
    }
    for name, owner in owners.items():
        folder = temporary / f"embedstore-{name}"
        folder.mkdir()
        if owner is not None:
            (folder / OWNER).write_text(owner)
        if name.endswith("old"):
            os.utime(folder, (time.time() - OLD_S - 10,) * 2)
    (temporary / "others-index-x").mkdir()
    kept = temporary / "kept"
    kept.mkdir()
    (kept / OWNER).write_text(f"{space}/{2**22 + 1}/1")
    (temporary / "embedstore-index-link").symlink_to(kept)
    made = make_temporary_folder("index")
    stay = {"index-elsewhere", "index-unknown", "fit-just-made", "index-link"}
    assert names(temporary) == {f"embedstore-{name}" for name in stay} | {"others-index-x", "kept", made.name}
