"""Open slides and images wherever they are: those of an object store are fetched first, and let go when closed."""

from pathlib import Path
from typing import Any

from embedstore.slides.image_file import read_image as read_local_image
from embedstore.slides.readers import open_slide as open_local_slide
from embedstore.slides.readers import read_image_apart as read_local_image_apart
from embedstore.slides.remote.fetching import local_copy
from embedstore.slides.slide import Pixels, Slide
from embedstore.uris import is_uri


def open_slide(path: str | Path, *, version: str | None = None, **how: Any) -> Slide:
    """Open a slide, a file or an object; arguments and errors as of `readers.open_slide`, and as of `local_copy`.

    Args:
        path: Its file or address.
        version: That the objects of an address must have.
        how: Further arguments of `readers.open_slide`.
    """
    if not is_uri(path):
        return open_local_slide(path, **how)
    copy = local_copy(str(path), version=version)
    try:
        return open_local_slide(copy.path, name=str(path), on_close=copy.close, **how)
    except BaseException:
        copy.close()
        raise


def read_image_apart(source: str | Path | bytes, **how: Any) -> Pixels:
    """Decode an image, a file, an object or bytes, in another process; as `readers.read_image_apart`."""
    if isinstance(source, bytes) or not is_uri(source):
        return read_local_image_apart(source, **how)
    with local_copy(str(source)) as copy:
        return read_local_image_apart(copy.path, **how)


def read_image(path: str | Path) -> Pixels:
    """Decode an image, a file or an object; as `image_file.read_image`."""
    if not is_uri(path):
        return read_local_image(path)
    with local_copy(str(path)) as copy:
        return read_local_image(copy.path)
