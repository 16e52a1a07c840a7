"""JPEG tiles decoded on the card: how fast, at what cost to the host and the network, and with which pixels."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from forward import forward_of, free, pass_s, synchronize
from gpu_readers import decode, jpeg_tiles
from networks import Way, at_shape
from report import Row, Step
from sizes import Sizes

#: The default on CUDA.
WAY = Way(dtype="fp16", weights="all", graph=True)
#: Tiles handed to the decoder at once.
BATCHES = (16, 64, 256)


def steps(sizes: Sizes, device: torch.device) -> list[Step]:
    on_cpu = device.type == "cpu"
    return (
        [
            Step(
                part="decoding",
                name=f"{px} px",
                about_s=1 if on_cpu else 8,
                run=lambda px=px: alone(sizes, device, px),  # type: ignore[misc]
            )
            for px in (sizes.tile_px, 2 * sizes.tile_px)
        ]
        + [
            Step(
                part="decoding",
                name=f"beside {model}",
                about_s=1 if on_cpu else 12,
                run=lambda model=model: beside(sizes, device, model),  # type: ignore[misc]
            )
            for model in sizes.models[:2]
        ]
    )


def decode_on(device: torch.device, jpegs: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Tiles as (3, height, width) uint8 on the device; nvJPEG decodes them where it is a card."""
    from torchvision.io import ImageReadMode, decode_jpeg  # here: the other parts do without torchvision's decoders

    tiles = decode_jpeg(list(jpegs), mode=ImageReadMode.RGB, device=device)
    return tiles if isinstance(tiles, list) else [tiles]


def missing(device: torch.device) -> Row:
    """Why torchvision cannot decode here; empty if it can."""
    try:
        decode_on(device, [_encoded(jpeg) for jpeg in jpeg_tiles(1, 16)])
    except (ImportError, RuntimeError) as error:
        return {"decoder": f"torchvision on {device.type}", "not_available": f"{error}"[:200]}
    return {}


def _encoded(jpeg: bytes) -> torch.Tensor:
    return torch.frombuffer(bytearray(jpeg), dtype=torch.uint8)


def alone(sizes: Sizes, device: torch.device, px: int) -> Iterator[Row]:
    jpegs = jpeg_tiles(sizes.distinct, px)
    speed, cpu_us = _measure(lambda: [decode(jpeg) for jpeg in jpegs], len(jpegs), sizes.measure_s, device)
    yield {"decoder": "cv2, a core", "px": px, "tiles_per_s": speed, "host_cpu_us": cpu_us}
    if reason := missing(device):
        yield {"px": px, **reason}
        return
    encoded = [_encoded(jpeg) for jpeg in jpegs]
    here = np.stack([decode(jpeg) for jpeg in jpegs])
    there = torch.stack(decode_on(device, encoded)).permute(0, 2, 3, 1).cpu().numpy()
    off = np.abs(here.astype(np.int16) - there)
    for batch in BATCHES:
        part = (encoded * -(-batch // len(encoded)))[:batch]
        speed, cpu_us = _measure(lambda part=part: decode_on(device, part), batch, sizes.measure_s, device)  # type: ignore[misc]
        yield {
            "decoder": f"torchvision on {device.type}",
            "px": px,
            "batch": batch,
            "tiles_per_s": speed,
            "host_cpu_us": cpu_us,
            "mean_difference": round(float(off.mean()), 4),
            "greatest_difference": int(off.max()),
        }


def beside(sizes: Sizes, device: torch.device, model: str) -> Iterator[Row]:
    """The network's speed alone, and while a thread decodes on the same card."""
    if reason := missing(device):
        yield {"model": model, **reason}
        return
    shape = (sizes.batches[0], sizes.tile_px, sizes.tile_px, 3)
    tiles = torch.randint(0, 255, shape, dtype=torch.uint8, device=device)
    forward = at_shape(forward_of(device, model, WAY), WAY, shape, device)
    forward(tiles)
    encoded = [_encoded(jpeg) for jpeg in jpeg_tiles(sizes.distinct, sizes.tile_px)]
    alone_s = pass_s(lambda: forward(tiles), sizes.measure_s, device)
    decoded, ended = 0, threading.Event()

    def keep_decoding() -> None:
        nonlocal decoded
        stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        with torch.cuda.stream(stream):
            while not ended.is_set():
                decode_on(device, encoded)
                if stream is not None:
                    stream.synchronize()
                decoded += len(encoded)

    thread = threading.Thread(target=keep_decoding)
    thread.start()
    try:
        began, before = time.perf_counter(), decoded
        both_s = pass_s(lambda: forward(tiles), sizes.measure_s, device)
        decoded_per_s = (decoded - before) / (time.perf_counter() - began)
    finally:
        ended.set()
        thread.join()
        free()
    yield {
        "model": model,
        "px": sizes.tile_px,
        "batch": shape[0],
        "network_alone_tiles_per_s": round(shape[0] / alone_s, 1),
        "network_tiles_per_s": round(shape[0] / both_s, 1),
        "decoded_tiles_per_s": round(decoded_per_s, 1),
    }


def _measure(run: Callable[[], object], tiles: int, least_s: float, device: torch.device) -> tuple[float, float]:
    """Tiles/s, and microseconds of the host's CPU a tile."""
    run()
    cpu_began, began = time.process_time(), time.perf_counter()
    seconds = pass_s(run, least_s, device)
    synchronize(device)
    share = (time.process_time() - cpu_began) / (time.perf_counter() - began)
    return round(tiles / seconds, 1), round(share * seconds / tiles * 1e6, 1)
