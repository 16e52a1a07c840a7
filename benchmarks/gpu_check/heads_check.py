"""Parts d and e: heads and an augmenter on the GPU beside the CPU, and torch and JAX together on one card."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from forward import forward_of, pass_s, synchronize
from networks import Way, at_shape
from report import Row, Step
from sizes import Sizes
from without_store import stand_in_for_absent_modules

RATES, SEEDS = 8, 8
VIEWS, VIEW_STEPS = 4, (250, 1000)


def head_steps(sizes: Sizes, device: torch.device) -> list[Step]:
    on_cpu = device.type == "cpu"
    return [
        Step(part="heads", name="64 heads", about_s=2 if on_cpu else 50, run=lambda: many_heads(sizes, device)),
        Step(part="heads", name="beside torch", about_s=2 if on_cpu else 10, run=lambda: beside_torch(sizes, device)),
    ]


def augmenter_steps(sizes: Sizes, device: torch.device) -> list[Step]:
    about_s = 2 if device.type == "cpu" else 25
    return [Step(part="augmenter", name="augmenter", about_s=about_s, run=lambda: augmenter(sizes, device))]


def places(device: torch.device) -> list[tuple[str, Any]]:
    """JAX's devices to compare, by name."""
    import jax

    cpu = jax.devices("cpu")[0]
    return [("cpu", cpu)] if device.type == "cpu" else [("gpu", jax.devices("gpu")[0]), ("cpu", cpu)]


def clustered(n: int, dim: int, device: torch.device, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Vectors (n, dim) float16 around the centres of 40 kinds of tissue, and answers (n,) that follow from them."""
    torch.manual_seed(seed)
    kinds, latent = 40, 32
    spread = torch.randn(latent, dim, device=device) / latent**0.5
    centres = torch.randn(kinds, latent, device=device)
    kind = torch.randint(kinds, (n,), device=device)
    x = np.empty((n, dim), np.float16)
    truth = np.empty(n, bool)
    for start in range(0, n, 65536):
        of = kind[start : start + 65536]
        z = centres[of] + torch.randn(len(of), latent, device=device)
        rows = z @ spread + 0.3 * torch.randn(len(of), dim, device=device)
        x[start : start + len(of)] = rows.half().cpu().numpy()
        truth[start : start + len(of)] = (z[:, :4].sum(1) + torch.randn(len(of), device=device) > 1).cpu().numpy()
    return x, truth


def many_heads(sizes: Sizes, device: torch.device) -> Iterator[Row]:
    """8 learning rates × 8 seeds, with the vectors on the device and streamed to it."""
    stand_in_for_absent_modules()
    from heads.devices import padded, prepare_jax, to_device

    prepare_jax()
    import jax
    from head_grid import held_out

    from heads.augmentation.feature_space import Strengths
    from heads.config import FitConfig
    from heads.training.adamw import fit_on_device, fit_streamed
    from heads.training.grid import BestHeads, make_grid, make_program
    from heads.training.problem import build_examples_problem

    x, truth = clustered(sizes.vectors, sizes.dim, device)
    examples = held_out(truth)
    rates = tuple(float(rate) for rate in np.geomspace(1e-4, 1e-1, RATES))
    config = FitConfig(
        optimizer="adamw", learning_rates=rates, weight_decays=(1e-4,), seeds=SEEDS, steps=sizes.head_steps,
        batch=sizes.head_batch, patience=sizes.head_steps,
    )  # fmt: skip
    program = make_program(config, examples, sizes.dim)
    for name, place in places(device):
        with jax.default_device(place):
            began = time.perf_counter()
            problem = build_examples_problem(config, examples, x)
            grid = make_grid(1, rates, (1e-4,), [Strengths.of(config.policies[0])], range(SEEDS))
            posed_s = time.perf_counter() - began
            began = time.perf_counter()
            held = jax.block_until_ready(to_device(x, padded(len(x))))
            copied_s = time.perf_counter() - began

            def resident(held=held, problem=problem, grid=grid) -> BestHeads:  # type: ignore[no-untyped-def]
                return fit_on_device(program, problem, grid, held)

            def streamed(problem=problem, grid=grid) -> BestHeads:  # type: ignore[no-untyped-def]
                return fit_streamed(program, problem, grid, lambda rows: x[np.minimum(rows, len(x) - 1)])

            ways = (("resident", resident), ("streamed", streamed))
            for way, run in ways if place is places(device)[0][1] else ways[:1]:
                took, best = timed(run, again=1 if name == "cpu" and sizes.vectors > 10_000 else 2)
                yield {
                    "on": name, "way": way, "heads": RATES * SEEDS, "vectors": len(x), "dim": sizes.dim,
                    "steps": sizes.head_steps, "batch": sizes.head_batch, **took,
                    "posed_s": round(posed_s, 2), "copied_s": round(copied_s, 2),
                    "best_loss": round(float(np.asarray(best.score).min()), 5),
                }  # fmt: skip
            del held


def timed(run: Callable[[], Any], again: int = 2) -> tuple[Row, Any]:
    """Seconds of a first call, which compiles, and the fewest of the next."""
    import jax

    seconds = []
    for _ in range(1 + again):
        began = time.perf_counter()
        out = jax.block_until_ready(run())
        seconds.append(time.perf_counter() - began)
    return {"first_s": round(seconds[0], 3), "again_s": round(min(seconds[1:]), 3)}, out


def beside_torch(sizes: Sizes, device: torch.device) -> Iterator[Row]:
    """A network of torch before, while and after heads are fitted by JAX in the same process on the same card."""
    stand_in_for_absent_modules()
    from heads.devices import prepare_jax

    prepare_jax()
    import jax
    from head_grid import held_out

    from heads.config import FitConfig
    from heads.training.training import train

    way = Way(dtype="fp16", weights="all", graph=True)
    shape = (sizes.batches[0], sizes.tile_px, sizes.tile_px, 3)
    forward = at_shape(forward_of(device, sizes.models[0], way), way, shape, device)
    tiles = torch.randint(0, 255, shape, dtype=torch.uint8, device=device)
    before = forward(tiles).clone()
    alone = shape[0] / pass_s(lambda: forward(tiles), sizes.measure_s, device)
    x, truth = clustered(min(sizes.vectors, 100_000), sizes.dim, device, seed=1)
    examples = held_out(truth)
    config = FitConfig(optimizer="adamw", learning_rates=(1e-3,), weight_decays=(1e-4,), steps=sizes.head_steps)
    place = places(device)[0][1]
    with jax.default_device(place):
        fit = {"rows": len(x), **timed(lambda: train(config, examples, x, on_device=True).best)[0]}
        began, passes = time.perf_counter(), 0
        fitting = train(config, examples, x, on_device=True)  # it has ended when it is given back
        alone_s = time.perf_counter() - began
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(1) as pool:
            began = time.perf_counter()
            job = pool.submit(_fit_there, place, lambda: train(config, examples, x, on_device=True))
            while not job.done() or passes == 0:
                forward(tiles)
                synchronize(device)
                passes += 1
            together_s = time.perf_counter() - began
            job.result()
    del fitting
    stats = place.memory_stats() or {}
    yield {
        "torch_alone_tiles_per_s": round(alone, 1),
        "torch_together_tiles_per_s": round(passes * shape[0] / together_s, 1),
        "fit_alone_s": round(alone_s, 3),
        "fit_together_s": round(together_s, 3),
        "same_rows": bool((forward(tiles) == before).all()),
        "torch_reserved_mb": round(torch.cuda.memory_reserved(device) / 1e6) if device.type == "cuda" else 0,
        "jax_in_use_mb": round(stats.get("bytes_in_use", 0) / 1e6),
        "jax_peak_mb": round(stats.get("peak_bytes_in_use", 0) / 1e6),
        **fit,
    }


def _fit_there(place: Any, fit: Callable[[], Any]) -> Any:
    import jax

    with jax.default_device(place):
        return fit()


def augmenter(sizes: Sizes, device: torch.device) -> Iterator[Row]:
    """`fit-augmenter` on made-up vectors of tiles and of their views, as the command has it but for reading."""
    stand_in_for_absent_modules()
    from heads.devices import prepare_jax

    prepare_jax()
    import jax

    from embedstore.config import ViewConfig
    from embedstore.views import draw_parameters
    from heads.augmentation.augmenter_fit import augmenter_inputs
    from heads.augmentation.augmenter_training import train_augmenter
    from heads.augmentation.view_pairs import ViewPairs
    from heads.config import AugmenterConfig
    from heads.splitting.splits import TEST, TRAIN, VALID

    n, views = sizes.view_tiles, ViewConfig(count=VIEWS)
    vectors, _ = clustered(n, sizes.dim, device, seed=2)
    parameters = draw_parameters(np.arange(n), views).reshape(n, VIEWS, -1)
    rng = np.random.default_rng(0)
    direction = rng.standard_normal((parameters.shape[2], sizes.dim)).astype(np.float32) * 0.1
    of_views = (vectors[:, None].astype(np.float32) + parameters @ direction).astype(np.float16)
    part = np.full(n, TRAIN, np.int8)
    part[-3 * (n // 10) : -2 * (n // 10)], part[-2 * (n // 10) :] = VALID, TEST
    pairs = ViewPairs(
        version=1, views_version=1, vectors=vectors, views=of_views, parameters=parameters.astype(np.float32),
        part=part, group=np.arange(n), notes=(),
    )  # fmt: skip
    for name, place in places(device):
        few, many = VIEW_STEPS if sizes.vectors > 10_000 else (2, 4)
        steps = few if name == "cpu" else many
        config = AugmenterConfig(steps=steps, evaluate_every=max(1, few))
        with jax.default_device(place):
            inputs = augmenter_inputs(pairs, views)
            took, trained = timed(lambda: _fit(train_augmenter, config, pairs, inputs), again=1)  # noqa: B023
        yield {
            "on": name, "tiles": n, "views": VIEWS, "dim": sizes.dim, "steps": steps, **took,
            "ms_per_step": round(took["again_s"] / steps * 1e3, 3), "explained": trained[0],
        }  # fmt: skip


def _fit(train: Any, *arguments: Any) -> tuple[float]:
    """What is left of an augmenter: how much of the change it explains."""
    return (train(*arguments).evaluations[-1].explained,)
