"""The format of a store: the table `slides` states it in the metadata of its schema.

A store that does not state it has format 1, the first. A newer one is refused, by a process that has the store
open as well. An older one is read as it is, and changed as `migrations` says before the first change of any table.
"""

import json
from collections.abc import Mapping

from embedstore.errors import StoreFormatError
from embedstore.version import __version__

FORMAT_KEY = b"embedstore.store"
#: The format that this version writes: a new one needs a step in `migrations`.
FORMAT = 2
_BACKUP = "before-format-"


def statement(number: int = FORMAT) -> dict[bytes, bytes]:
    """The metadata of the schema of `slides` that states a format."""
    return {FORMAT_KEY: json.dumps({"format": number, "written_by": __version__}).encode()}


def stated_format(metadata: Mapping[bytes, bytes] | None, store_uri: str) -> int:
    """The format that the metadata of the schema of `slides` states.

    Raises:
        StoreFormatError: it is newer than this version reads, or no format.
    """
    raw = (metadata or {}).get(FORMAT_KEY)
    if raw is None:
        return 1
    try:
        said = json.loads(raw)
        number, by = said["format"], said["written_by"]
    except (ValueError, KeyError, TypeError):
        number, by = None, ""
    if type(number) is not int or number < 1 or not isinstance(by, str):
        raise StoreFormatError(
            f"the store {store_uri} does not state its format: expected a number and a version, found {raw!r} in the "
            "metadata of its table slides; restore the store from a copy"
        )
    if number > FORMAT:
        raise StoreFormatError(
            f"the store {store_uri} has format {number}, of embedstore {by}; this is embedstore {__version__}, which "
            f"reads formats 1 to {FORMAT}; install embedstore {by} or a newer one"
        )
    return number


def backup_tag(number: int) -> str:
    """The tag of a table's last version before a store had a format."""
    return f"{_BACKUP}{number}"


def is_backup_tag(name: str) -> bool:
    return name.startswith(_BACKUP)
