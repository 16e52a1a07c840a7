"""The devices of JAX, and its set-up."""

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import jax

#: JAX takes memory of the host that begins at such an address as an array of its CPU, without a copy.
_ALIGNMENT = 64
_CACHE_FOLDER = "jax_compilation_cache_dir"
#: Fewest rows that arrays are padded to.
_SMALLEST = 256


def jax_devices() -> list[str]:
    import jax

    return [f"{device.platform}:{device.id} {device.device_kind}" for device in jax.devices()]


def prepare_jax() -> None:
    """Set JAX up, before anything is computed; may be called again. Settings of the user's own are kept.

    Compiled programs are kept between processes, in EMBEDSTORE_CACHE or the user's cache folder, so that the second fit
    on vectors of the same shapes compiles nothing. On a GPU, JAX allocates memory as it needs it and leaves the rest to
    others (torch), if nothing was computed before this.
    """
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    import jax

    if getattr(jax.config, _CACHE_FOLDER) is None:
        home = os.environ.get("EMBEDSTORE_CACHE") or os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        jax.config.update(_CACHE_FOLDER, str(Path(home) / "embedstore" / "jax"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)  # a fit compiles 30 small programs as well


def device_bytes() -> int:
    """Memory that vectors may take on the device, bytes: half of what is free."""
    import jax
    import psutil

    stats = jax.devices()[0].memory_stats()
    if stats and "bytes_limit" in stats:
        return (stats["bytes_limit"] - stats.get("bytes_in_use", 0)) // 2
    return psutil.virtual_memory().available // 2


def to_device(array: NDArray[Any], rows: int) -> "jax.Array":
    """An array on the device, padded with zeros to so many rows.

    It is laid out on the host, which compiles nothing.
    """
    import jax

    shape = rows, *array.shape[1:]
    size = math.prod(shape) * array.itemsize
    room = np.zeros(size + _ALIGNMENT, np.uint8)
    start = -room.ctypes.data % _ALIGNMENT
    laid = room[start : start + size].view(array.dtype).reshape(shape)
    laid[: len(array)] = array
    return jax.device_put(laid)


def padded(n: int) -> int:
    """The next of a few sizes: eight to each doubling, so at most an eighth is padding."""
    if n <= _SMALLEST:
        return _SMALLEST
    step = 1 << (max((n - 1).bit_length() - 4, 0))
    return -(-n // step) * step
