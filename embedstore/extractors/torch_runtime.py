"""torch in this process: its devices, CPU threads and memory. Importing this file does not import torch."""

import gc
import sys
from typing import TYPE_CHECKING

from embedstore.errors import DeviceError

if TYPE_CHECKING:
    import torch


def resolve_device(device: str) -> "torch.device":
    """The torch device for `auto` (the first GPU, else the CPU), `cpu`, `cuda` or `cuda:N`.

    Raises:
        DeviceError: the requested device does not exist; there is no silent fall-back to another.
    """
    import torch

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        resolved = torch.device(device)
    except RuntimeError as error:
        raise DeviceError(f"device is {device!r}; expected auto, cpu, cuda or cuda:N") from error
    if resolved.type == "cpu":
        return torch.device("cpu")
    if resolved.type != "cuda":
        raise DeviceError(f"device is {device!r}; expected auto, cpu, cuda or cuda:N")
    if not torch.cuda.is_available():
        built = "this torch is built without CUDA" if torch.version.cuda is None else "torch finds no usable GPU"
        raise DeviceError(f"device {device!r} was requested, but {built} (torch {torch.__version__}); use --device cpu")
    index = resolved.index if resolved.index is not None else torch.cuda.current_device()
    if index >= torch.cuda.device_count():
        raise DeviceError(f"device {device!r} was requested, but there are {torch.cuda.device_count()} GPUs")
    return torch.device("cuda", index)


def check_device(device: str) -> None:
    """Raise DeviceError where a requested device does not exist; `auto` and `cpu` always do."""
    if device not in ("auto", "cpu"):  # these do without torch, whose import takes 3 CPU-seconds
        resolve_device(device)


def torch_devices() -> list[str]:
    """The devices that torch can compute on here: 'cpu' with its threads, and each GPU."""
    import torch

    gpus = [f"cuda:{i} {torch.cuda.get_device_name(i)}" for i in range(torch.cuda.device_count())]
    return [f"cpu ({torch.get_num_threads()} threads)", *gpus]


def set_threads(threads: int) -> None:
    """Let torch use this many threads on the CPU in this process.

    Ray sets `OMP_NUM_THREADS=1` for every actor; a network that is alone on a machine should use all cores that its
    readers leave. Does nothing where no extractor has imported torch: importing it takes 3 CPU-seconds.
    """
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(threads)


def release_memory() -> None:
    """Free the memory of extractors that are no longer referenced, on the device too; does not import torch."""
    gc.collect()  # modules and hooks refer to one another
    if torch := sys.modules.get("torch"):
        torch.cuda.empty_cache()  # does nothing where no GPU was used
