"""Files put into a bucket of the object store on the loopback; obstore needs no sockets of Python's."""

from pathlib import Path

import obstore
from obstore.store import from_url


def put(uri: str, what: bytes | Path) -> str:
    """Put bytes, a file, or all files of a folder at an address of the form s3://bucket/key; gives the address."""
    scheme, _, rest = uri.partition("://")
    bucket, _, key = rest.partition("/")
    store = from_url(f"{scheme}://{bucket}", client_options={"allow_http": True})
    files = [what] if isinstance(what, bytes) or what.is_file() else sorted(filter(Path.is_file, what.rglob("*")))
    for file in files:
        if isinstance(file, bytes):
            obstore.put(store, key, file)
        else:
            inside = "" if file is what else f"/{file.relative_to(what).as_posix()}"  # type: ignore[arg-type]
            obstore.put(store, key + inside, file.read_bytes())
    return uri


def remove(uri: str) -> None:
    """Delete the object at an address."""
    scheme, _, rest = uri.partition("://")
    bucket, _, key = rest.partition("/")
    obstore.delete(from_url(f"{scheme}://{bucket}", client_options={"allow_http": True}), key)
