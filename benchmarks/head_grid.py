"""What a grid of heads costs beside one, scikit-learn and a plain PyTorch loop; and what a second call compiles."""

import os
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from measure import write_row
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from heads.augmentation.feature_space import Strengths
from heads.bags import Bags
from heads.config import FitConfig
from heads.devices import padded
from heads.evaluate import evaluate_head
from heads.examples import Examples
from heads.splitting.splits import TEST, TRAIN, VALID, Split
from heads.training.adamw import fit_on_device
from heads.training.grid import BestHeads, TrainedGrid, make_grid, make_program
from heads.training.training import build_examples_problem, train

DIM, TRAINED, VALIDATED, TESTED = 512, 16_000, 2_000, 2_000
RATES = tuple(float(rate) for rate in np.geomspace(1e-4, 1e-1, 8))
SEEDS = 8
_COMPILED = "/jax/core/compile/backend_compile_duration"


def synthetic(n: int, dim: int, *, seed: int = 0, latent: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """Vectors (n, dim) float16 of few intrinsic dimensions, as embeddings are, and answers (n,) with some noise."""
    rng = np.random.default_rng(seed)
    z = rng.standard_normal((n, latent), np.float32)
    x = z @ rng.standard_normal((latent, dim), np.float32) / np.sqrt(latent) + 0.5 * rng.standard_normal((n, dim))
    truth = z[:, :8].sum(1) + 2 * rng.standard_normal(n) > 1
    return x.astype(np.float16), truth


def held_out(truth: np.ndarray) -> Examples:
    """Examples of one task, each of a patient of its own, a tenth to validate on and a tenth to test on."""
    n = len(truth)
    part = np.full((1, n), TRAIN, np.int8)
    part[0, -2 * (n // 10) : -(n // 10)] = VALID
    part[0, -(n // 10) :] = TEST
    return Examples(
        version=1,
        ids=np.arange(n),
        bags=Bags.single(np.arange(n)),
        tasks=("task",),
        classes=(("no", "yes"),),
        targets=(np.stack([~truth, truth], axis=1),),
        known=(np.ones(n, bool),),
        group=np.arange(n, dtype=np.int32),
        group_names=(),
        split=Split(parts=part, names=("holdout",)),
    )


@dataclass
class Side:
    """One of the things compared.

    Attributes:
        run: Does it all, and gives the scores of the test rows.
        beside: The side of one head that it is a multiple of.
    """

    name: str
    heads: int
    run: Callable[[], np.ndarray]
    beside: str
    wall_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    first_s: float = 0.0
    auroc: float = 0.0


def grid(steps: int, batch: int, rounds: int, n: int = TRAINED + VALIDATED + TESTED, dim: int = DIM) -> None:
    """A row a side; sides take turns within each round, after one call that does not count."""
    x, truth = synthetic(n, dim)
    examples = held_out(truth)
    test = examples.split.rows(0, TEST)
    one = FitConfig(
        optimizer="adamw", learning_rates=(1e-3,), weight_decays=(1e-4,), steps=steps, batch=batch, patience=steps
    )  # `patience`: all sides take all steps
    many = replace(one, learning_rates=RATES, seeds=SEEDS)
    heads = len(RATES) * SEEDS
    sides = [
        Side("embedstore, the program", 1, program(one, examples, x), "embedstore, the program"),
        Side("embedstore, posed and fitted", 1, whole(one, examples, x), "embedstore, posed and fitted"),
        Side("PyTorch loop", 1, torch_loop(one, examples, x), "embedstore, posed and fitted"),
        Side("LogisticRegression", 1, sklearn(LogisticRegression, examples, x), "embedstore, posed and fitted"),
        Side("embedstore, the program", heads, program(many, examples, x), "embedstore, the program"),
        Side("embedstore, posed and fitted", heads, whole(many, examples, x), "embedstore, posed and fitted"),
        Side("embedstore, L-BFGS, 6 strengths", 6, whole(FitConfig(), examples, x), "embedstore, posed and fitted"),
        Side("LogisticRegressionCV, 5 folds", 50, sklearn(_chosen, examples, x), "embedstore, posed and fitted"),
    ]
    load = round(os.getloadavg()[0], 1)
    for number in range(rounds + 1):
        for side in sides:
            wall, cpu = time.perf_counter(), time.process_time()
            scores = side.run()
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            if number == 0:
                side.first_s, side.auroc = wall, float(roc_auc_score(truth[test], scores))
            else:
                side.wall_s.append(wall)
                side.cpu_s.append(cpu)
    ones = {side.name: side for side in reversed(sides) if side.heads == 1}
    sizes = {"train": int((examples.split.parts == TRAIN).sum()), "dim": dim, "steps": steps, "batch": batch}
    for side in sides:
        of_one = [a / b for a, b in zip(side.wall_s, ones[side.beside].wall_s, strict=True)]
        row = {
            "load_1m": load,
            "side": side.name,
            "heads": side.heads,
            **sizes,
            "wall_s": round(statistics.median(side.wall_s), 3),
            "wall_range": f"{min(side.wall_s):.3f}-{max(side.wall_s):.3f}",
            "cpu_s": round(statistics.median(side.cpu_s), 3),
            "cpu_range": f"{min(side.cpu_s):.3f}-{max(side.cpu_s):.3f}",
            "times_one_head": round(statistics.median(of_one), 2),
            "first_call_s": round(side.first_s, 2),
            "test_auroc": round(side.auroc, 4),
            "rounds": rounds,
        }
        write_row("fit_head_grid", row)


def program(config: FitConfig, examples: Examples, x: np.ndarray) -> Callable[[], np.ndarray]:
    """The compiled program alone, on a problem that is posed and vectors that are on the device."""
    problem = build_examples_problem(config, examples, x)
    compiled = make_program(config, examples, x.shape[1])
    seeds = range(config.seed, config.seed + config.seeds)
    cells = make_grid(
        1, config.learning_rates or (), config.weight_decays or (), [Strengths.of(config.policies[0])], seeds
    )
    on_device = jnp.asarray(np.pad(x, ((0, padded(len(x)) - len(x)), (0, 0))))
    test = examples.split.rows(0, TEST)

    def run() -> np.ndarray:
        fitted: BestHeads = jax.block_until_ready(fit_on_device(compiled, problem, cells, on_device))
        at = np.unravel_index(int(np.argmin(fitted.score)), fitted.score.shape)
        kernel = np.asarray(fitted.parameters["kernel"][...][at])[:, 0]
        return x[test].astype(np.float32) @ (kernel / np.asarray(problem.std))

    return run


def whole(config: FitConfig, examples: Examples, x: np.ndarray) -> Callable[[], np.ndarray]:
    """All that `fit-head` does between reading vectors and evaluating."""
    test = examples.split.rows(0, TEST)

    def run() -> np.ndarray:
        trained = train(config, examples, x)
        scores = trained.scores(0)
        best = min(scores, key=lambda cell: float(np.mean(scores[cell])))
        return trained.logits(trained.ensemble(best, [0], 1), test).mean(0)[:, 0]

    return run


def torch_loop(config: FitConfig, examples: Examples, x: np.ndarray) -> Callable[[], np.ndarray]:
    """As one would write it: vectors standardised once, AdamW on batches, the best of the looks at validation kept."""
    rows = [examples.split.rows(0, part) for part in (TRAIN, VALID, TEST)]
    steps, batch, every = config.steps or 1, config.batch or 1, config.evaluate_every
    rate, decay = (config.learning_rates or (0.0,))[0], (config.weight_decays or (0.0,))[0]

    def run() -> np.ndarray:
        torch.manual_seed(config.seed)
        truth = torch.from_numpy(examples.targets[0][:, 1].astype(np.float32))
        stored = torch.from_numpy(x).float()
        std, mean = torch.std_mean(stored[rows[0]], dim=0)
        standard = (stored - mean) / std
        (train_x, valid_x, test_x), (train_y, valid_y, _) = ([a[part] for part in rows] for a in (standard, truth))
        weight = (1 - train_y.mean()) / train_y.mean()
        layer = torch.nn.Linear(x.shape[1], 1)
        loss_of = torch.nn.BCEWithLogitsLoss(pos_weight=weight)
        optimizer = torch.optim.AdamW(layer.parameters(), lr=rate, weight_decay=decay)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        best, kept = np.inf, layer.state_dict()
        for step in range(steps):
            drawn = torch.randint(len(train_x), (batch,))
            optimizer.zero_grad()
            loss_of(layer(train_x[drawn])[:, 0], train_y[drawn]).backward()
            optimizer.step()
            schedule.step()
            if (step + 1) % every == 0:
                with torch.no_grad():
                    loss = float(loss_of(layer(valid_x)[:, 0], valid_y))
                if loss < best:
                    best, kept = loss, {name: value.clone() for name, value in layer.state_dict().items()}
        layer.load_state_dict(kept)
        with torch.no_grad():
            return layer(test_x)[:, 0].numpy()

    return run


def _chosen() -> LogisticRegressionCV:
    return LogisticRegressionCV(
        Cs=10,
        cv=5,
        class_weight="balanced",
        max_iter=1000,
        scoring="neg_log_loss",
        use_legacy_attributes=False,
        l1_ratios=(0.0,),
    )


def sklearn(make: Callable[[], Any], examples: Examples, x: np.ndarray) -> Callable[[], np.ndarray]:
    """A pipeline of StandardScaler and a model with scikit-learn's own settings; C is 1 unless the model chooses it."""
    rows, test = examples.split.rows(0, TRAIN), examples.split.rows(0, TEST)
    truth = examples.targets[0][:, 1]

    def run() -> np.ndarray:
        model = make()
        model.set_params(class_weight="balanced", max_iter=1000)
        fitted = make_pipeline(StandardScaler(), model).fit(x[rows].astype(np.float32), truth[rows])
        return fitted.decision_function(x[test].astype(np.float32))

    return run


# -- compilations ---------------------------------------------------------------------------


@contextmanager
def compilations() -> Iterator[list[float]]:
    """Seconds of each compilation within the block."""
    seconds: list[float] = []
    inside = True

    def heard(event: str, duration: float, **_: Any) -> None:
        if inside and event == _COMPILED:
            seconds.append(duration)

    jax.monitoring.register_event_duration_secs_listener(heard)
    yield seconds
    inside = False


def compiled(n: int = TRAINED + VALIDATED + TESTED, dim: int = DIM, more: int = 37) -> None:
    """A row a call of train and finish: the first, the second, one with other data, and one with a few labels more."""
    settings = {
        "linear, lbfgs": FitConfig(bootstrap=0),
        "linear, adamw": FitConfig(optimizer="adamw", steps=100, bootstrap=0),
        "mlp": FitConfig(model="mlp", steps=100, bootstrap=0),
    }
    for name, config in settings.items():
        jax.clear_caches()
        for call, rows, seed in (("first", n, 0), ("second", n, 0), ("other data", n, 1), ("labels more", n + more, 1)):
            x, truth = synthetic(n + more, dim, seed=seed)
            examples = held_out(truth[:rows])
            with compilations() as seconds:
                trained: TrainedGrid = train(config, examples, x[:rows])
                evaluate_head(config, examples, trained, 0)
            row = {"head": name, "call": call, "vectors": rows, "dim": dim, "compilations": len(seconds)}
            write_row("fit_head_compilations", row | {"compile_s": round(sum(seconds), 2)})
