"""Where an extractor runs."""

import torch

from embedstore.errors import DeviceError


def resolve_device(device: str) -> torch.device:
    """The torch device for `auto` (the first GPU, else the CPU), `cpu`, `cuda` or `cuda:N`.

    Raises:
        DeviceError: the asked device is not there; nothing falls back to another in silence.
    """
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
        raise DeviceError(f"device {device!r} was asked for, but {built} (torch {torch.__version__}); use --device cpu")
    index = resolved.index if resolved.index is not None else torch.cuda.current_device()
    if index >= torch.cuda.device_count():
        raise DeviceError(f"device {device!r} was asked for, but there are {torch.cuda.device_count()} GPUs")
    return torch.device("cuda", index)
