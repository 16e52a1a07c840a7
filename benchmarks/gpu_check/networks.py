"""Networks with random weights, and the ways in which their forward pass can be computed."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from embedstore.extractors.networks.architecture import create_network

#: GFLOP of a tile of 224 px, twice the published multiply-adds.
GFLOP = {"resnet50": 8.2, "vit_small_patch16_224": 9.2, "vit_large_patch16_224": 123.3, "vit_huge_patch14_224": 334.7}
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

Forward = Callable[[Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class Way:
    """How a forward pass is computed.

    Attributes:
        dtype: `bf16`, `fp16` or `fp32`.
        weights: `autocast` (fp32 weights, cast in each pass), `matmul` (those of linear layers and convolutions are
            cast before, the rest is autocast's: the same numbers), or `all` (the whole network is of that type).
        folded: Whether batch normalisation is folded into the convolution before it.
        compiled: Whether torch.compile fuses it: the blocks of a transformer, which share one program; else the whole.
        graph: Whether it is recorded as a CUDA graph.
        attention: Backend of attention; torch's own choice when empty.
        tuned: Whether cuDNN tries its algorithms for convolutions.
    """

    dtype: str = "bf16"
    weights: str = "autocast"
    folded: bool = False
    compiled: bool = False
    graph: bool = False
    attention: str = ""
    tuned: bool = False

    def __str__(self) -> str:
        marks = [name for name in ("folded", "compiled", "graph", "tuned") if getattr(self, name)]
        return " ".join([self.dtype, self.weights, *marks, *([self.attention] if self.attention else [])])


def make_network(model: str, device: torch.device, seed: int = 0) -> nn.Module:
    """A network with random weights, made on its device, which is quicker."""
    torch.manual_seed(seed)
    with device:
        network = create_network(model, {}, pooling="network")
    return network.eval().requires_grad_(False).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]


def make_forward(
    network: nn.Module, way: Way, *, mean: tuple[float, ...] = MEAN, std: tuple[float, ...] = STD
) -> Forward:
    """From tiles (n, h, w, 3) uint8 on the device to embeddings (n, dim) float16; changes the network.

    A graph is not recorded here: it is of one shape.
    """
    device = next(network.parameters()).device
    dtype = DTYPES[way.dtype]
    if way.folded:
        network = fold_batch_norm(network)
    if way.weights == "all":
        network = network.to(dtype)
    elif way.weights == "matmul":
        for module in network.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                module.to(dtype)
    if way.compiled:
        compile_network(network)
    offset = (torch.tensor(mean) * 255).to(device).view(1, 3, 1, 1)
    scale = (1 / (torch.tensor(std) * 255)).to(device).view(1, 3, 1, 1)
    # Compiled code is guarded by the mode that it was compiled in; no_grad is the one that is tried most.
    mode = torch.no_grad if way.compiled else torch.inference_mode
    casting = way.weights != "all" and way.dtype != "fp32"

    def forward(tiles: Tensor) -> Tensor:
        with contextlib.ExitStack() as stack:
            stack.enter_context(mode())
            if casting:
                stack.enter_context(torch.autocast(device.type, dtype=dtype))
            if way.attention:
                from torch.nn.attention import SDPBackend, sdpa_kernel

                stack.enter_context(sdpa_kernel(getattr(SDPBackend, way.attention)))
            torch.backends.cudnn.benchmark = way.tuned
            images = tiles.permute(0, 3, 1, 2).float().sub_(offset).mul_(scale)
            return network(images if casting else images.to(dtype)).to(torch.float16)

    return forward


def compile_network(network: nn.Module) -> None:
    """Compile the blocks of a transformer, which share a program, or the whole network."""
    torch._dynamo.reset()
    blocks = getattr(network, "blocks", None)
    for module in blocks if isinstance(blocks, nn.Sequential) and hasattr(network, "cls_token") else [network]:
        # On the CPU only the tracing is tried: its compiler takes minutes.
        module.compile(dynamic=False, backend="inductor" if next(module.parameters()).is_cuda else "aot_eager")


def fold_batch_norm(network: nn.Module) -> nn.Module:
    """The network with each batch normalisation folded into the convolution before it."""
    from torch.fx.experimental.optimization import fuse

    return fuse(network, inplace=True).to(memory_format=torch.channels_last)


class Recorded:
    """A forward pass of one shape as a CUDA graph."""

    def __init__(self, forward: Forward, shape: tuple[int, ...], device: torch.device) -> None:
        self.tiles = torch.zeros(shape, dtype=torch.uint8, device=device)
        self._graph = torch.cuda.CUDAGraph()
        current, aside = torch.cuda.current_stream(device), torch.cuda.Stream(device)
        aside.wait_stream(current)
        with torch.cuda.stream(aside):
            for _ in range(3):
                forward(self.tiles)
        current.wait_stream(aside)
        with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
            self._rows = forward(self.tiles)

    def __call__(self, tiles: Tensor) -> Tensor:
        if tiles is not self.tiles:
            self.tiles.copy_(tiles, non_blocking=True)
        self._graph.replay()
        return self._rows


def at_shape(forward: Forward, way: Way, shape: tuple[int, ...], device: torch.device) -> Forward:
    """The forward pass for tiles of one shape: recorded, where the way says so and the device can."""
    return Recorded(forward, shape, device) if way.graph and device.type == "cuda" else forward
