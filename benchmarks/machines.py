"""Every machine against the textbook way, unfolded patches and one distance matrix a minibatch, in the same process.

    python benchmarks/machines.py [--images 256] [--channels 1] [--side 32] [--repeats 3]

Prints pairs (pixel against training patch) a second, the ratio to the textbook way, and how far the two differ. Times are the
best of the repeats, alternating; what counts is the ratio.
"""

import argparse
import time
from functools import partial

import torch
from rich.console import Console
from rich.table import Table

import patchmosaic as pm


def textbook(images, y, gamma, patch_size, wrap):
    """Unfold all patches of 64 images at a time; distances by a matrix product; one running softmax."""
    side, radius = y.shape[-1], patch_size // 2
    pad = {"mode": "circular"} if wrap else {}

    def patches(x):
        return torch.nn.functional.unfold(torch.nn.functional.pad(x, (radius,) * 4, **pad), patch_size).transpose(1, 2)

    query = patches(y)[0]  # (HW, CPP)
    m = torch.full((side * side, 1), -torch.inf)
    s, v = torch.zeros(side * side, 1), torch.zeros(side * side, y.shape[1])
    for block in images.split(64):
        keys = patches(block).reshape(-1, query.shape[1])  # (n HW, CPP)
        centres = block.permute(0, 2, 3, 1).reshape(-1, y.shape[1])
        log_weights = gamma * (query @ keys.T - 0.5 * keys.square().sum(1))
        peak = torch.maximum(m, log_weights.amax(1, keepdim=True))
        weights = torch.exp(log_weights - peak)
        s = s * torch.exp(m - peak) + weights.sum(1, keepdim=True)
        v = v * torch.exp(m - peak) + weights @ centres
        m = peak
    return (v / s).T.reshape(y.shape)


def best_time(functions, repeats):
    times = [[] for _ in functions]
    for _ in range(repeats):
        for function, kept in zip(functions, times, strict=True):
            start = time.perf_counter()
            function()
            kept.append(time.perf_counter() - start)
    return [min(kept) for kept in times]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--channels", type=int, default=1)
    parser.add_argument("--side", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    # Smooth images: like real ones, they have near matches at every patch size.
    noise = pm.seeds(options.images, (options.channels, options.side, options.side), seed=7)
    images = torch.nn.functional.avg_pool2d(noise, 5, stride=1, padding=2).mul(3).clamp(-1, 1)
    pool = pm.ImageSet(images)
    table = Table(title=f"{pool!r}, {torch.get_num_threads()} threads")
    for heading in ("machine", "P", "t", "seconds", "G pairs/s", "textbook s", "ratio", "difference"):
        table.add_column(heading, justify="right")
    pairs = options.images * options.side**4
    for patch_size, t in [(3, 0.2), (7, 0.6), (17, 0.95)]:
        if patch_size > options.side:
            continue
        machine = pm.EquivariantLocalDenoiser(pool, patch_size)
        alpha, sigma = (float(scale) for scale in machine.schedule(t))
        x_t = alpha * images[:1] + sigma * pm.seeds(1, pool.image_shape)
        arguments = (pool.images, x_t / alpha, (alpha / sigma) ** 2, patch_size, True)
        ours, theirs = best_time([partial(machine, x_t, t), partial(textbook, *arguments)], options.repeats)
        difference = float((machine(x_t, t) - textbook(*arguments)).norm() / machine(x_t, t).norm())
        row = (
            "ELS",
            f"{patch_size}",
            f"{t}",
            f"{ours:.2f}",
            f"{pairs / ours / 1e9:.2f}",
            f"{theirs:.2f}",
            f"{theirs / ours:.1f}",
        )
        table.add_row(*row, f"{difference:.0e}")
        broken = pm.BoundaryBrokenDenoiser(pool, patch_size)
        (seconds,) = best_time([partial(broken, x_t, t)], options.repeats)
        table.add_row("bbELS", f"{patch_size}", f"{t}", f"{seconds:.2f}", "", "", "", "")
    for name in ("IdealDenoiser", "EquivariantDenoiser"):
        machine = getattr(pm, name)(pool)
        (seconds,) = best_time([partial(machine, x_t, 0.5)], options.repeats)
        table.add_row(name, "", "0.5", f"{seconds:.3f}", "", "", "", "")
    Console().print(table)


if __name__ == "__main__":
    main()
