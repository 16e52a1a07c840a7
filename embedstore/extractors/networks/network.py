"""A frozen torch network as an extractor: normalisation, resizing, precision and pooling on its device."""

import contextlib
import copy
import logging
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from embedstore.errors import EmbedStoreError, ExtractorError
from embedstore.extractors.networks.architecture import create_network
from embedstore.extractors.spec import ExtractorSpec
from embedstore.extractors.torch_extractor import TorchExtractor, sha256_of_tensors

log = logging.getLogger(__name__)

AUTOCAST = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": None}
# Enough to fill a GPU with tiles of 224 px; a CPU gains nothing beyond a few tiles, and memory grows with the batch.
BATCH_TILES = {"cuda": 256, "cpu": 32}


class NetworkExtractor(TorchExtractor):
    """A network with weights, in evaluation mode, on one device.

    On CUDA, fp16 is the type of weights and activations of timm's networks; a user's own network is computed under
    autocast, as its code may make tensors of another type. bf16 is autocast, which loses less than weights in bf16.

    Args:
        spec: Its facts.
        network: Takes (n, 3, input_px, input_px) float, normalised.
        device: Where it runs.
        embed: Computes the embeddings, where that is not the network's own call.
    """

    def __init__(
        self,
        spec: ExtractorSpec,
        network: nn.Module,
        *,
        device: torch.device,
        embed: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        self.spec = spec
        self.name, self.tile_px, self.mpp = spec.name, spec.tile_px, spec.mpp
        network = network.eval().requires_grad_(False)
        self.digest = sha256_of_tensors(dict(network.state_dict()), spec.preprocessing())
        # Tiles arrive as (n, h, w, 3), which is channels-last already; with it ResNet-50 is 36-48 % faster on the CPU.
        self._network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._embed = embed or self._network
        self.torch_device, self.device = device, str(device)
        self.batch_tiles = BATCH_TILES[device.type]
        on_cuda = device.type == "cuda"
        self.recordable = on_cuda and spec.kind == "timm"
        self._dtype = torch.float32
        if self.recordable and spec.precision == "fp16" and _fits_half(self._network):
            self._dtype = torch.float16
            self._network.half()
        self._autocast = AUTOCAST[spec.precision] if on_cuda and self._dtype == torch.float32 else None
        self._overflowed = False
        if on_cuda:
            # Embeddings are kept as float16, whose 11 bits of significand TF32 has too; sums stay in float32.
            torch.set_float32_matmul_precision("high")
        self._offset = (torch.tensor(spec.mean) * 255).to(device).view(1, 3, 1, 1)
        self._scale = (1 / (torch.tensor(spec.std) * 255)).to(device).view(1, 3, 1, 1)
        self._prefix_tokens = int(getattr(network, "num_prefix_tokens", 0))
        try:
            self.dim = self._measured_dim()
        except RuntimeError as error:
            if self._dtype == torch.float32 or isinstance(error, EmbedStoreError):
                raise
            # Its code makes tensors of another type.
            self._dtype, self._autocast = torch.float32, torch.float16
            self._network.float()
            self.dim = self._measured_dim()

    def record(self) -> dict[str, Any]:
        """All facts of the network, as JSON values."""
        spec = self.spec
        return {
            **super().record(),
            "source": spec.source,
            "arch": spec.arch,
            "input_px": spec.input_px,
            "interpolation": spec.interpolation,
            "pooling": spec.pooling,
            "precision": spec.precision,
            "licence": spec.licence,
            "hub_id": spec.hub_id,
            "hub_file": spec.hub_file,
            "arch_args": dict(spec.arch_args),
            "mean": spec.mean,
            "std": spec.std,
        }

    def forward(self, tiles: Tensor) -> Tensor:
        with torch.inference_mode(), self._precision():
            return self._pooled(self._embed(self._normalised(tiles).to(self._dtype))).to(torch.float16)

    def finite(self, rows: NDArray[np.float16], tiles: Tensor) -> NDArray[np.float16]:
        """The rows; those that overflowed in half precision are computed again in fp32."""
        if self._dtype == torch.float32 and self._autocast != torch.float16:
            return rows
        bad = ~np.isfinite(rows).all(axis=1)
        if not bad.any():
            return rows
        if not self._overflowed:
            self._overflowed = True
            log.warning(
                "%s: embeddings of some tiles overflow fp16; these tiles are computed again in fp32. Where they are "
                "many, --precision bf16 is faster, and coarser", self.name,
            )  # fmt: skip
        rows = rows.copy()
        rows[bad] = self.forward_in_parts(tiles, self._wide_forward).cpu().numpy()[bad]
        return rows

    def _wide_forward(self, tiles: Tensor) -> Tensor:
        embed = self._wide_network if self._dtype == torch.float16 else self._embed
        with torch.inference_mode():
            return self._pooled(embed(self._normalised(tiles))).to(torch.float16)

    @cached_property
    def _wide_network(self) -> nn.Module:
        """The network in fp32, from its weights in fp16."""
        return copy.deepcopy(self._network).float()

    def _precision(self) -> contextlib.AbstractContextManager[Any]:
        if self._autocast is None:
            return contextlib.nullcontext()
        return torch.autocast(self.torch_device.type, dtype=self._autocast)

    def _normalised(self, tiles: Tensor) -> Tensor:
        images = tiles.permute(0, 3, 1, 2).float()
        edge = self.spec.input_px
        if edge is not None and tuple(images.shape[2:]) != (edge, edge):
            images = nn.functional.interpolate(images, (edge, edge), mode=self.spec.interpolation, antialias=True)
            images = images.clamp_(0, 255)  # bicubic overshoots at edges
        return images.sub_(self._offset).mul_(self._scale)

    def _pooled(self, output: Tensor) -> Tensor:
        features = pool(output, self.spec.pooling, prefix_tokens=self._prefix_tokens)
        if features.ndim != 2:
            raise ExtractorError(
                f"extractor {self.name!r} gives an output of shape {tuple(features.shape)}; expected (n, dim). "
                "Choose a pooling (cls, mean, cls+mean), or embed with a function that pools"
            )
        return features

    def _measured_dim(self) -> int:
        blank = torch.zeros((1, self.tile_px, self.tile_px, 3), dtype=torch.uint8, device=self.torch_device)
        dim = int(self.forward(blank).shape[1])
        stated = self.spec.embedding_dim
        if stated is not None and dim != stated:
            raise ExtractorError(f"extractor {self.name!r} gives {dim} values a tile; its entry states {stated}")
        return dim


def dim_without_weights(spec: ExtractorSpec) -> int | None:
    """Length of the vectors of a timm network, from the shapes of its layers; None where they do not tell.

    Raises:
        UnknownExtractorError, ConfigError, ExtractorError: as of `create_network` and `pool`.
    """
    edge = spec.input_px or spec.tile_px
    try:
        with torch.device("meta"):  # shapes alone: no memory, no arithmetic
            network = create_network(spec.arch, spec.arch_args, pooling=spec.pooling).eval()
            output = network(torch.zeros((1, 3, edge, edge)))
    except RuntimeError as error:
        if isinstance(error, EmbedStoreError):
            raise
        return None  # a layer that needs numbers
    features = pool(output, spec.pooling, prefix_tokens=int(getattr(network, "num_prefix_tokens", 0)))
    return int(features.shape[1]) if features.ndim == 2 else None


def _fits_half(network: nn.Module) -> bool:
    """Whether fp16 holds every weight."""
    most = torch.finfo(torch.float16).max
    return all(
        bool((tensor.abs() <= most).all()) for tensor in network.state_dict().values() if tensor.is_floating_point()
    )


def pool(output: Tensor, pooling: str, *, prefix_tokens: int) -> Tensor:
    """One vector a tile.

    Args:
        output: (n, dim) where the network pools by itself; (n, tokens, dim) otherwise: the class token first,
            then the register tokens, then the patches.
        pooling: `network`, `cls`, `mean` (of the patch tokens) or `cls+mean` (concatenated, twice the length).
        prefix_tokens: Class and register tokens together; registers take part in no pooling.
    Returns:
        (n, dim), or (n, 2 dim) for `cls+mean`.
    Raises:
        ExtractorError: the output has no tokens to pool.
    """
    if pooling == "network":
        return output
    if output.ndim != 3:
        raise ExtractorError(
            f"pooling {pooling!r} needs tokens of shape (n, tokens, dim); the network gives {tuple(output.shape)}; "
            "use pooling 'network'"
        )
    if "cls" in pooling and prefix_tokens == 0:
        raise ExtractorError(f"pooling {pooling!r} needs a class token, and the network has none; use 'mean'")
    if pooling == "cls":
        return output[:, 0]
    mean = output[:, prefix_tokens:].mean(dim=1)
    return mean if pooling == "mean" else torch.cat([output[:, 0], mean], dim=-1)
