"""A user's own slide encoder, and the torch module that it may have, on the GPU where there is one."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from embedstore.extractors.torch_runtime import resolve_device

if TYPE_CHECKING:
    from torch import nn

Precision = Literal["fp32", "fp16", "bf16"]


@dataclass(frozen=True, kw_only=True)
class CustomSlideEncoder:
    """A user's own slide encoder.

    Attributes:
        encode: Called once a slide with its tiles: vectors (n, dim); coordinates (n, 2) of their top-left corners and
            their edge, level-0 pixels; and the resolution of a tile, µm/px. Returns the slide's vector, (E,) or (1, E).
            It is given tensors on the module's device, float32 and int64; NumPy arrays where there is no module.
        module: The torch module that `encode` calls; it is moved to the GPU where there is one.
        version: What tells these weights from others, where there is no module whose parameters say so.
        name: Of its vectors in the store; the function's by default.
        published: A name of `embedstore encode-slides --list`, whose facts say which tiles it takes.
        extractor: Name of the extractor whose vectors it takes; any when None.
        tile_px, mpp: The tiles that it takes; any when None.
        needs_places: Whether it uses the coordinates; ready-made tiles have none.
        precision: Of the computation on CUDA: `fp32`, or what torch's autocast makes of it.
    """

    encode: Callable[[Any, Any, int, float], Any]
    module: "nn.Module | None" = None
    version: str | None = None
    name: str | None = None
    published: str | None = None
    extractor: str | None = None
    tile_px: int | None = None
    mpp: float | None = None
    needs_places: bool | None = None
    precision: Precision = "fp32"


class SlideNetwork:
    """Calls a user's function with the tiles of a slide as tensors.

    Args:
        module: What the function calls; it is moved to the device, and evaluates.
        encode: As of `CustomSlideEncoder`.
        precision: Of the computation on CUDA.
        device: auto, cpu, cuda or cuda:N.
    Raises:
        DeviceError: the device does not exist.
    """

    def __init__(
        self, module: "nn.Module", encode: Callable[[Any, Any, int, float], Any], *, precision: Precision, device: str
    ):
        self._device = resolve_device(device)
        self._module = module.to(self._device).eval()
        self._encode, self._precision = encode, precision

    def digest(self, text: str) -> str:
        """`sha256:…` over the module's parameters and what else decides its vectors."""
        from embedstore.extractors.torch_extractor import sha256_of_tensors

        return sha256_of_tensors(dict(self._module.state_dict()), text)

    def __call__(
        self, vectors: NDArray[np.float16], xy_l0: NDArray[np.int64], edge_l0: int, mpp: float
    ) -> NDArray[Any]:
        import torch

        dtype = {"fp16": torch.float16, "bf16": torch.bfloat16}.get(self._precision)
        autocast = torch.autocast(
            self._device.type, dtype=dtype, enabled=dtype is not None and self._device.type == "cuda"
        )
        with torch.inference_mode(), autocast:
            tiles = torch.from_numpy(vectors).to(self._device).float()
            places = torch.from_numpy(xy_l0).to(self._device)
            vector = self._encode(tiles, places, edge_l0, mpp)
        return vector.float().cpu().numpy() if isinstance(vector, torch.Tensor) else np.asarray(vector)
