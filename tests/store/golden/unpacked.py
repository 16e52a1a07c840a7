"""Golden stores, unpacked for tests."""

import tarfile
from pathlib import Path

import lance

from embedstore.store.store_format import FORMAT, FORMAT_KEY, statement
from embedstore.version import __version__

FOLDER = Path(__file__).parent
VERSIONS = sorted(path.name.removesuffix(".tar.xz") for path in FOLDER.glob("*.tar.xz"))


def unpack(version: str, folder: Path) -> Path:
    """The store that a version wrote, as a folder of its own."""
    with tarfile.open(FOLDER / f"{version}.tar.xz") as tar:
        tar.extractall(folder, filter="data")
    return folder / "store"


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def become_newer(store: Path) -> None:
    """As if the next version, 9.8.7, had written the store."""
    said = statement(FORMAT + 1)[FORMAT_KEY].decode().replace(__version__, "9.8.7")
    lance.dataset(str(store / "slides.lance")).update_schema_metadata({FORMAT_KEY.decode(): said})
