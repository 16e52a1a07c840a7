"""Addresses of files and folders in object stores, such as s3://bucket/slides/case.svs."""

import os
import re
from pathlib import Path

from embedstore.errors import ConfigError, RegionReadError

#: Those that the store's library knows too: Amazon S3, Google Cloud, Azure, and files on a web server.
SCHEMES = (
    "s3", "s3a", "gs", "gcs", "az", "adl", "azure", "abfs", "abfss", "http", "https",
)  # fmt: skip
_URI = re.compile(r"([a-z][a-z0-9]*):/(?!/)|([a-z][a-z0-9]*)://", re.IGNORECASE)
_USER, _QUERY = re.compile(r"//[^/@]*@"), re.compile(r"[?#].*", re.DOTALL)


def is_uri(path: str | Path) -> bool:
    """Whether a path is an address in an object store; also one that went through `Path`, which takes a / out."""
    match = _URI.match(str(path))
    return match is not None and (match[1] or match[2]).lower() in SCHEMES


def checked_uri(path: str | Path) -> str:
    """An address in one way of writing: no / at its end, and both after the scheme.

    Raises:
        ConfigError: it holds credentials, which would be stored with every slide, or has no bucket.
    """
    text = str(path)
    scheme, _, rest = text.partition(":")
    host, _, key = rest.lstrip("/").partition("/")
    shown = _QUERY.sub("?…", _USER.sub("//…@", text))
    is_account = scheme.lower() in ("abfs", "abfss") and ":" not in host  # abfs://container@account/path
    if ("@" in host and not is_account) or "?" in text or "#" in text:
        raise ConfigError(
            f"{shown} holds a name, password or signature; expected an address alone, because addresses are stored and "
            "shown; give credentials in the environment (AWS_ACCESS_KEY_ID, AZURE_STORAGE_SAS_TOKEN and so on)"
        )
    if not host:
        raise ConfigError(f"{shown!r} has no bucket; expected an address such as s3://bucket/slides/")
    return f"{scheme.lower()}://{host}/{key.strip('/')}".rstrip("/")


def split_uri(uri: str) -> tuple[str, str]:
    """(root, key): the address of the bucket, and the path in it, which may be empty."""
    scheme, _, rest = uri.partition("://")
    host, _, key = rest.partition("/")
    return f"{scheme}://{host}", key


def uri_parent(uri: str) -> str:
    """The address of the folder that an object lies in."""
    root, key = split_uri(uri)
    above = key.rpartition("/")[0]
    return f"{root}/{above}" if above else root


def uri_name(uri: str) -> str:
    """The last part of an address."""
    return uri.rpartition("/")[2]


def as_given(path: str | Path) -> str:
    """A path from the command line: an address in one way of writing, any other path absolute; file:// is a path."""
    text = str(path)
    if is_uri(text):
        return checked_uri(text)
    return str(Path(local_of(text)).expanduser().absolute())


def local_of(path: str | Path) -> str:
    """A path without file://."""
    text = str(path)
    return text if not text.lower().startswith("file:/") else "/" + text[len("file:") :].lstrip("/")


def shown_path(path: str | Path) -> str:
    """A path for a message; an address as it is written."""
    return checked_uri(path) if is_uri(path) else str(path)


def tile_path(folder: str, name: str) -> str:
    """The file or object of a tile in a folder.

    Raises:
        RegionReadError: an object store's table names a file outside of its folder, which may be one of this machine.
    """
    if is_uri(folder) and (name.startswith("/") or ".." in name.split("/")):
        raise RegionReadError(f"tile {name!r} lies outside of {folder}")
    return os.path.join(folder, name)  # noqa: PTH118 - a Path would take a / out of an address


def as_store(path: str | Path) -> str:
    """What to say of a folder in which files of another kind were expected; "" unless it is a store, or a table of one.

    A store is told by the name of its table of slides, as this is asked where nothing was found, also below the store.
    """
    folder = Path(path)
    for store in (folder, folder.parent):
        if (store / "slides.lance").is_dir() and (store == folder or folder.suffix == ".lance"):
            return (
                f"{store} is a store of embedstore: name it with --store (`embedstore ls --store {store}` shows what "
                f"it holds), or write its vectors into files first, with `embedstore export --store {store} --layout "
                "parquet --out FOLDER`"
            )
    return ""


def exists_or_remote(path: str | Path | None) -> bool:
    """Whether there is a file or folder; an address is looked up when it is opened."""
    return bool(path) and (is_uri(str(path)) or Path(str(path)).exists())
