"""What approximations cost and how far they are off: the tables of docs/approximation.md.

    python benchmarks/approximation.py preview     estimated and true errors of random subsets
    python benchmarks/approximation.py coarse      coarse to fine against exact, one sample at a time
    python benchmarks/approximation.py needed      the images that patch machines could leave out if they knew beforehand which

Each with [--data fashion_mnist] [--images 10000] [--samples 4]; queries are noised test images. Times are medians of three.
"""

import argparse
import time
from functools import partial

import torch
from rich.console import Console
from rich.table import Table

import patchmosaic as pm
from patchmosaic.data import load
from patchmosaic.denoisers.approximate import Approximate
from patchmosaic.denoisers.posterior import Question
from patchmosaic.denoisers.preview import Preview

TIMES = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 1.0)
# Published for the UNet on Fashion-MNIST, 20 steps, lowest noise first (Kamb & Ganguli 2024).
PATCH_SIZES = [3, 3, 5, 5, 7, 7, 7, 9, 11, 11, 11, 13, 15, 15, 21, 23, 25, 25, 25, 25]


def machine(name, pool):
    if name in ("IS", "ES"):
        return pm.denoisers.MACHINES[name](pool)
    return pm.denoisers.MACHINES[name](pool, pm.LocalityScale.from_steps(pm.noise.CosineSchedule(), PATCH_SIZES))


def noisy(x0, t):
    alpha, sigma = (float(scale) for scale in pm.noise.CosineSchedule()(t))
    return alpha * x0 + sigma * pm.seeds(len(x0), x0.shape[1:])


def relative(result, expected):
    return (result.double() - expected.double()).flatten(1).norm(dim=1) / expected.double().flatten(1).norm(dim=1)


def seconds(work):
    times = []
    for _ in range(3):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return sorted(times)[1]


def preview(pool, queries, options):
    """The true error of previews, and its ratio to the jackknife and to the plain spread of the parts' averages."""
    table = Table("machine", "t", "true error", "true / jackknife", "within 2x", "true / spread of parts")
    for name in options.machine or ("IS", "LS", "ELS", "bbELS"):
        exact = machine(name, pool)
        for t in TIMES:
            x_t = noisy(queries, t)
            truth, errors, ratios, spreads = exact(x_t, t), [], [], []
            for seed in range(options.subsets):
                some = Preview(exact, options.subset, seed=seed)
                estimate = some.estimate(x_t, t)
                errors.append(relative(estimate.x0_hat, truth))
                ratios.append(errors[-1] / estimate.error)
                index = some.chosen()
                parts = torch.stack([machine(name, pool.subset(index[j::8]))(x_t, t) for j in range(8)])
                spread = (parts.var(0).flatten(1).sum(1) / 8 * (1 - some.seen())).sqrt()
                spreads.append(errors[-1] / (spread / estimate.x0_hat.flatten(1).norm(dim=1)))
            ratios = torch.stack(ratios).flatten()
            row = (name, f"{t}", f"{torch.stack(errors).mean():.3f}", f"{ratios.median():.2f}")
            table.add_row(*row, f"{(ratios <= 2).double().mean():.0%}", f"{torch.stack(spreads).median():.2f}")
    return table


def coarse(pool, queries, options):
    """Images looked at, time and bound of coarse to fine at a tolerance of 1e-3."""
    table = Table("machine", "t", "images", "exact ms", "approximate ms", "ratio", "bound", "true error")
    for name in options.machine or ("IS", "ES"):
        exact = machine(name, pool)
        approximate = Approximate(exact, 1e-3)
        approximate(noisy(queries[:1], 0.5), 0.5)  # casts the shadows and measures the costs
        for t in TIMES:
            looked_at, bound, error, slow, fast = [], 0.0, 0.0, 0.0, 0.0
            for query in queries.split(1):
                x_t = noisy(query, t)
                error = max(error, float(relative(approximate(x_t, t), exact(x_t, t))))
                looked_at.append(approximate.last[0].images)
                bound = max(bound, approximate.last[0].error)
                slow += seconds(partial(exact, x_t, t)) / len(queries)
                fast += seconds(partial(approximate, x_t, t)) / len(queries)
            row = (name, f"{t}", " ".join(map(str, sorted(looked_at))), f"{1e3 * slow:.0f}", f"{1e3 * fast:.0f}")
            table.add_row(*row, f"{slow / fast:.1f}", f"{bound:.0e}", f"{error:.0e}")
    return table


def needed(pool, queries, options):
    """The share of the images of which some pixel needs more than 1e-3 / N of its weight, told by the exact weights."""
    table = Table("machine", "t", "some pixel needs", "a pixel needs")
    for name in options.machine or ("LS", "ELS"):
        exact = machine(name, pool)
        for t in TIMES:
            when = torch.full((len(queries),), t, dtype=torch.float64)
            query, precision = exact._queries(noisy(queries, t), when)
            levels = exact.schedule.noise_level(when)
            totals = []
            for n in range(len(pool)):
                state = exact._posterior(Question(query, precision, levels, torch.tensor([n]), torch.float32))
                totals.append(state.m + state.s.log())
            weights = torch.stack(totals).softmax(0)  # (N, B, H, W)
            some = weights > 1e-3 / len(pool)
            table.add_row(name, f"{t}", f"{some.flatten(2).any(2).double().mean():.0%}", f"{some.double().mean():.0%}")
    return table


TABLES = {"preview": preview, "coarse": coarse, "needed": needed}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=TABLES)
    parser.add_argument("--data", default="fashion_mnist")
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("--machine", action="append")
    parser.add_argument("--subset", type=int, default=500)
    parser.add_argument("--subsets", type=int, default=10)
    options = parser.parse_args()
    pool = load(options.data, limit=options.images)
    queries = load(options.data, limit=options.samples, split="test").images
    table = TABLES[options.table](pool, queries, options)
    table.title = f"{pool!r}, {torch.get_num_threads()} threads"
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
