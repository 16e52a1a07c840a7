"""The mark by which an export knows its own files again, so that it goes on where it stopped and harms no others.

It is an attribute `embedstore` of the file, which readers pass over: JSON with the collection, the extractor's digest,
and `of`, a digest of what decides the content.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from embedstore.errors import LayoutExportError

KEY = "embedstore"


def make_mark(*, collection: str, extractor: str, **content: Any) -> dict[str, str]:
    """The mark of a file.

    Args:
        collection: Name of the collection.
        extractor: Digest of the extractor.
        content: What else decides what is in the file; JSON values, or what `str` makes of them.
    """
    digest = hashlib.blake2b(json.dumps(content, sort_keys=True, default=str).encode(), digest_size=16)
    return {"collection": collection, "extractor": extractor, "of": digest.hexdigest()}


def is_done(files: Sequence[Path], mark: Mapping[str, str]) -> bool:
    """Whether the files of a slide stand already, the first of them with this mark.

    Raises:
        LayoutExportError: another file stands there, which this export may not replace.
    """
    first, *others = files
    if stands(first, mark):
        return all(path.exists() for path in others)
    if not first.exists():
        for path in others:
            if path.exists() and _read(path) is None:
                raise _foreign(path)
    return False


def stands(path: Path, mark: Mapping[str, str]) -> bool:
    """Whether a file or folder of the same content stands there already; False also for an older one of this export.

    Raises:
        LayoutExportError: another stands there, which this export may not replace.
    """
    if not path.exists():
        return False
    found = _read(path)
    if found is None:
        raise _foreign(path)
    if found.get("of") == mark["of"]:
        return True
    if any(found.get(name) != mark[name] for name in ("collection", "extractor")):
        raise LayoutExportError(
            f"{path} stands there already, from collection {found.get('collection')!r} with extractor "
            f"{found.get('extractor')}; it stays as it is; name another folder with --out"
        )
    return False


def _foreign(path: Path) -> LayoutExportError:
    return LayoutExportError(
        f"{path} stands there already, and no export of embedstore wrote it; it stays as it is; name another folder "
        "with --out, or move it"
    )


def _read(path: Path) -> dict[str, str] | None:
    """The mark of a file; None where it has none, or cannot be read."""
    try:
        raw = _raw(path)
        found = json.loads(raw) if isinstance(raw, str | bytes) else raw
    except (OSError, ValueError, KeyError, RuntimeError, TypeError):
        return None
    return found if isinstance(found, dict) else None


def _raw(path: Path) -> Any:
    if path.is_dir():
        return json.loads((path / "zarr.json").read_bytes())["attributes"][KEY]
    if path.suffix == ".parquet":
        import pyarrow.parquet

        return pyarrow.parquet.read_schema(path).metadata[KEY.encode()]
    import h5py

    with h5py.File(path, "r") as file:
        return file.attrs[KEY]
