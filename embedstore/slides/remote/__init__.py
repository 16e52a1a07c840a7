"""Slides in object stores: found, fetched and kept on the disk of this machine while they are read."""

from embedstore.slides.remote.fetching import (
    LocalCopy,
    discard_copy,
    fetch_ahead,
    limit_slide_cache,
    local_copy,
)
from embedstore.slides.remote.objects import end_requests
from embedstore.slides.remote.opening import open_slide, read_image, read_image_apart
from embedstore.slides.remote.slide_objects import reaches, version_now

__all__ = [
    "LocalCopy",
    "discard_copy",
    "end_requests",
    "fetch_ahead",
    "limit_slide_cache",
    "local_copy",
    "open_slide",
    "read_image",
    "read_image_apart",
    "reaches",
    "version_now",
]
