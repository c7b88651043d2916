"""What the engine reaches on a GPU: times, rates, ratios to the naive way on the same GPU, share of the roofline, errors.

    [PATCHMOSAIC_DATA=...] python benchmarks/gpu.py [--images 8192] [--seconds 2] [--json FILE]

    A  every machine and patch size against unfolding and matrix products (`naive.py`), in float32 without TF32
    B  exact 20-step trajectories of one seed over a pool of the shape of CIFAR-10: 50,000 x 3 x 32 x 32

Images are CIFAR-10's where PATCHMOSAIC_DATA has it, and else smooth noise. "ELS" matches patches anywhere on the torus; "ELS
inside" those that lie inside the images, as the naive way does. A is timed at the lowest noise at which a published scale has
the patch size, and the error is the larger of those at the lowest and the highest: relative L2, against float64 box sums, over
a part of the pool. Times are the best of several; what is compiled or allocated first is not in them. The naive way is timed on
fewer images, and the ratio is that of times an image. A pair is a pixel and a training patch that it may match.

The roofline of the patch machines is what all multiprocessors do at their highest clock. A window sum along one axis takes A
additions, 2 + log2 r rounded down + the number of ones but the first in r = (P - 1) / 2, and a pair of C channels takes

    4 C + 2 A + 6    float32 operations: squared differences, window sums, softmax    128 a clock (64 on 7.x and 8.0)
    C + 2 A + 4      loads and exchanges between lanes: pixels, neighbours, turning    32 a clock
    2                exponentials                                                      16 a clock

The slowest of the three is the bound; the share is its time over the measured one. Pairs that a rule does not admit are
computed but not counted. For IS the share is that of reading the pool once, as float32, as fast as a sum reads it here.
"""

import argparse
import json
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from rich.console import Console

import naive
import patchmosaic as pm
from engine import MACHINES, SCALES, STEPS, Data, load_data, scales_at, show, synthetic
from patchmosaic.engine.box_sums import box_sum_posteriors
from patchmosaic.engine.memory import DEFAULT_BUDGET

PATCH_SIZES = (3, 5, 7, 11, 17, 25)
CIFAR_IMAGES = 50_000
ERROR_IMAGES = 64
BUILD = {"ELS": pm.EquivariantLocalDenoiser, "ELS inside": MACHINES["ELS"].build, "bbELS": MACHINES["bbELS"].build}
BUILD["LS"] = MACHINES["LS"].build
NAIVE = {
    "ELS inside": partial(naive.equivariant_local, way=naive.by_matrix_product),
    "bbELS": partial(naive.boundary_broken, way=naive.by_matrix_product),
    "LS": naive.local,
}


@dataclass(frozen=True)
class Bench:
    """What every section is given."""

    data: Data
    device: torch.device
    images: int  # of the pool, in A
    seconds: float  # for each time

    def pool(self, count):
        return self.data.first(count).images.to(self.device)

    def machine(self, build, *arguments, images):
        return build(self.data.first(images), *arguments).to(self.device)

    def x_t(self, t):
        return self.data.noisy(t).to(self.device)

    def time(self, call):
        """Seconds of one call."""
        self._wait()
        start = time.perf_counter()
        call()
        self._wait()
        return time.perf_counter() - start

    def best_time(self, call):
        """The best of some seconds of calls, but not the first."""
        call()
        times = [self.time(call)]
        while sum(times) < self.seconds:
            times.append(self.time(call))
        return min(times)

    def _wait(self):
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def machines(bench):
    """Every machine against unfolding and matrix products on the same GPU"""
    for name, build in BUILD.items():
        for patch_size in PATCH_SIZES:
            yield patch_machine(bench, name, build, patch_size)
    yield ideal(bench)


def patch_machine(bench, name, build, patch_size):
    channels, side, _ = bench.data.pool.image_shape
    times = bench.data.times(patch_size)
    x_t, t = bench.x_t(times[0]), times[0]
    seconds = bench.best_time(partial(bench.machine(build, patch_size, images=bench.images), x_t, t))
    pairs = (side**4 if name == "ELS" else MACHINES[name.split()[0]].pairs(side, patch_size)) * bench.images
    row = {"machine": name, "P": patch_size, "t": t, "images": bench.images, "ms": 1e3 * seconds}
    row["G pairs/s"] = 1e-9 * pairs / seconds
    if name != "LS":  # one displacement: memory and launches bound it
        row["share"] = share(pairs / seconds, bench.device, channels, patch_size)
    row |= against_naive(bench, name, seconds, x_t, *scales_at(t), patch_size)
    return {**row, "error": max(error(bench, build, patch_size, t) for t in (times[0], times[-1]))}


def ideal(bench):
    x_t, t = bench.x_t(0.5), 0.5
    seconds = bench.best_time(partial(bench.machine(pm.IdealDenoiser, images=bench.images), x_t, t))
    answer = bench.machine(pm.IdealDenoiser, images=ERROR_IMAGES)(x_t, t)
    truth = naive.ideal(x_t.double(), bench.pool(ERROR_IMAGES).double(), *scales_at(t))
    row = {"machine": "IS", "P": "", "t": t, "images": bench.images, "ms": 1e3 * seconds}
    row["share"] = bench.best_time(bench.pool(bench.images).sum) / seconds
    row |= against_naive(bench, "IS", seconds, x_t, *scales_at(t))
    return {**row, "error": float((answer - truth).norm() / truth.norm())}


def against_naive(bench, name, seconds, *arguments):
    """The naive time for as many images, measured on fewer."""
    function = naive.ideal if name == "IS" else NAIVE.get(name)
    if function is None:
        return {}
    few = bench.pool(min(bench.images, 8 * naive.MINIBATCH))
    theirs = bench.best_time(partial(function, arguments[0], few, *arguments[1:])) * bench.images / len(few)
    return {"naive ms": 1e3 * theirs, "ratio": theirs / seconds}


def error(bench, build, patch_size, t):
    """Of the float32 answer, over a part of the pool."""
    denoiser, x_t, (alpha, sigma) = bench.machine(build, patch_size, images=ERROR_IMAGES), bench.x_t(t), scales_at(t)
    precision = torch.tensor([(alpha / sigma) ** 2], dtype=torch.float64, device=bench.device)
    question = (x_t.double() / alpha, precision, bench.pool(ERROR_IMAGES), None, denoiser.rule, (patch_size,))
    truth = box_sum_posteriors(*question, DEFAULT_BUDGET)[0].mean()
    return float((denoiser(x_t, t) - truth).norm() / truth.norm())


def share(pairs_a_second, device, channels, patch_size):
    """Of the roofline."""
    clock = highest_clock(device)
    if clock is None:
        return "clock unknown"
    gpu, radius = torch.cuda.get_device_properties(device), patch_size // 2
    additions = 2 + (radius.bit_length() - 1) + (radius.bit_count() - 1)
    lanes = 64 if (gpu.major, gpu.minor) <= (8, 0) else 128
    clocks = max((4 * channels + 2 * additions + 6) / lanes, (channels + 2 * additions + 4) / 32, 2 / 16)
    return pairs_a_second * clocks / (gpu.multi_processor_count * clock)


def highest_clock(device):
    """Of the multiprocessors, in Hz; None where nvidia-smi cannot tell."""
    query = ["nvidia-smi", "--query-gpu=clocks.max.sm", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, check=True).stdout
        return 1e6 * float(answer.splitlines()[device.index or 0])
    except (OSError, subprocess.CalledProcessError, ValueError, IndexError):
        return None


def trajectories(bench):
    """Exact 20-step trajectories over the whole pool, with the published scale of the circular ResNet"""
    scale = pm.LocalityScale.from_steps(pm.noise.CosineSchedule(), SCALES[3]["ResNet, circular"])
    x_T = pm.seeds(1, bench.data.pool.image_shape).to(bench.device)
    for name in ("ELS", "bbELS"):
        machine = bench.machine(BUILD[name], scale, images=len(bench.data.pool))
        pm.sample(bench.machine(BUILD[name], scale, images=naive.MINIBATCH), x_T, STEPS)  # compiles what the scale needs
        where, total = {"machine": name, "images": len(bench.data.pool)}, 0.0
        steps = pm.sampling.ddim(machine, x_T, STEPS)
        for i in range(STEPS, 0, -1):
            seconds = bench.time(partial(next, steps))
            total += seconds
            alpha, sigma = scales_at(i / STEPS)
            yield {**where, "t": i / STEPS, "P": scale(sigma / alpha), "seconds": seconds}
        yield {**where, "t": "all", "seconds": total}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=8192, help="of the pool, in A")
    parser.add_argument("--seconds", type=float, default=2.0, help="for each time in A")
    parser.add_argument("--json", type=Path, help="write all rows here, after each section")
    options = parser.parse_args()

    console = Console(width=None if sys.stdout.isatty() else 200, highlight=False)
    if not torch.cuda.is_available():
        console.print(f"No GPU: torch {torch.__version__} finds no CUDA device here, and nothing was measured.")
        return
    if "cifar10" in pm.data.found():
        (data,) = load_data("cifar10", CIFAR_IMAGES).values()
    else:
        data = synthetic(3, CIFAR_IMAGES)
    bench = Bench(data, torch.device("cuda", 0), min(options.images, len(data.pool)), options.seconds)
    results = {"data": repr(data.pool), "device": torch.cuda.get_device_name(0), "way": way()}
    console.print(*results.values(), "", sep="\n")
    for letter, section in {"A": machines, "B": trajectories}.items():
        results[letter] = show(console, f"{letter}. {section.__doc__}", section(bench))
        if options.json:
            options.json.write_text(json.dumps(results, indent=1))


def way():
    """Of computing patch machines."""
    try:
        import triton
    except ImportError:
        return f"torch {torch.__version__}, without Triton: box sums"
    return f"torch {torch.__version__}, Triton {triton.__version__}"


if __name__ == "__main__":
    main()
