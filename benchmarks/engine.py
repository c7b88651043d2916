"""What the engine reaches: seconds, rates, ratios to the naive way (`naive.py`) in the same process, and errors.

    PATCHMOSAIC_DATA=... python benchmarks/engine.py [--only A,B] [--trajectory] [--quick] [--seconds 15] [--json FILE]

    A  ELS against naive, at the lowest and the highest noise at which a published scale has each patch size
    B  ELS against naive along published CIFAR-10 schedules, step by step, and the geometric mean
    C  whole 20-step trajectories over the whole pool (long: only with --trajectory, or when named in --only)
    D  bbELS against naive, and against the time of ELS
    E  LS against naive
    F  IS: share of the peak of matrix products (batch 64) and of the read bandwidth (batch 1), both measured here
    G  all patch sizes at once, as calibration asks for them, against one
    H  errors of float32 answers, against float64
    I  A and E once more in a process without the native kernel (PATCHMOSAIC_NATIVE=0)
    J  ELS against the bound that its operation count sets (docs/engine.md)

Images are real where PATCHMOSAIC_DATA has them: x_t is made of a test image, the pool is the training set. ELS takes
the training patches that lie inside the images (training_padding="valid"), as public code does. A pair is a pixel and a
training patch that it may match. Ratios are to the faster of the naive ways, both of which are shown.

Times are the best of alternating repeats, of one query where no batch is named; building a machine is not counted. Ours and
the naive ways each get a pool that keeps them busy; "linear" is the time it takes over twice that of half the pool: 1 where
time is proportional to the pool.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from functools import cache, partial
from itertools import product
from pathlib import Path

import torch
from rich.console import Console
from rich.live import Live
from rich.table import Table

import naive
import patchmosaic as pm
from measuring import QUICK, Bench, Effort
from patchmosaic.engine.native.instructions import instruction_set, kernel
from patchmosaic.sampling import ddim
from workloads import MACHINES, SCALES, STEPS, load_data, scales_at


@cache
def cell(bench, data_name, name, patch_size, t):
    """One machine against its naive counterparts at one noise level: a row."""
    data, machine = bench.data[data_name], MACHINES[name]
    x_t, (alpha, sigma) = data.noisy(t), scales_at(t)

    def ours(count):
        return partial(machine.build(data.first(count), patch_size), x_t, t)

    def theirs(way, count):
        return partial(machine.naive[way], x_t, data.first(count).images, alpha, sigma, patch_size)

    makers = {"ours": ours, **{way: partial(theirs, way) for way in machine.naive}}
    counts = {who: bench.enough_images(call_with, len(data.pool)) for who, call_with in makers.items()}
    calls = {(who, half): makers[who](counts[who] // half) for who in makers for half in (2, 1)}
    measured = bench.best_times(calls)
    seconds = {who: measured[who, 1][0] / counts[who] for who in makers}  # an image
    linear = {who: measured[who, 1][0] / (2 * measured[who, 2][0]) for who in makers}
    fastest = min(machine.naive, key=seconds.__getitem__)
    expected = measured[fastest, 1][1]
    return {
        "data": data_name,
        "machine": name,
        "P": patch_size,
        "t": t,
        "images": counts["ours"],
        "linear": linear["ours"],
        "µs/image": 1e6 * seconds["ours"],
        "G pairs/s": 1e-9 * machine.pairs(x_t.shape[-1], patch_size) / seconds["ours"],
        **{f"naive {way}, µs/image": 1e6 * seconds[way] for way in machine.naive},
        "faster naive": fastest,
        "its images": counts[fastest],
        "its linear": linear[fastest],
        "ratio": seconds[fastest] / seconds["ours"],
        "difference": float((ours(counts[fastest])() - expected).norm() / expected.norm()),
    }


def against_naive(bench, name, patch_sizes):
    """Rows of `cell` for every data set, patch size, and end of the noise levels at which it is used."""
    for data_name, data in bench.data.items():
        for patch_size in patch_sizes:
            times = data.times(patch_size)
            for t in dict.fromkeys(times[end] for end in bench.effort.ends):
                yield cell(bench, data_name, name, patch_size, t)


def els(bench):
    """ELS against naive"""
    yield from against_naive(bench, "ELS", bench.effort.patch_sizes)


def schedule(bench):
    """ELS against naive along published CIFAR-10 schedules"""
    for data_name in (name for name, data in bench.data.items() if data.pool.image_shape[0] == 3):
        for kind in ("ResNet, circular", "ResNet, zero padding"):
            rows = []
            for i in bench.effort.steps:
                rows.append({"scale": kind, **cell(bench, data_name, "ELS", SCALES[3][kind][i], (i + 1) / STEPS)})
                yield rows[-1]
            mean = statistics.geometric_mean(row["ratio"] for row in rows)
            yield {"scale": kind, "data": data_name, "machine": "geometric mean", "ratio": mean}


def trajectory(bench):
    """Exact 20-step trajectories of one seed, unconditional, with the scale of the circular ResNet"""
    for data_name, data in bench.data.items():
        scale = pm.LocalityScale.from_steps(pm.noise.CosineSchedule(), data.scales["ResNet, circular"])
        machine = MACHINES["ELS"].build(data.pool, scale)
        where = {"data": data_name, "images": len(data.pool)}
        total, start = 0.0, time.perf_counter()
        for step in ddim(machine, pm.seeds(1, data.pool.image_shape), STEPS):
            seconds = time.perf_counter() - start
            total += seconds
            yield {**where, "t": step.t, "P": scale(float(machine.schedule.noise_level(step.t))), "seconds": seconds}
            start = time.perf_counter()
        yield {**where, "t": "all steps", "seconds": total}


def boundary_broken(bench):
    """bbELS against naive, and against the time of ELS"""
    for row in against_naive(bench, "bbELS", bench.effort.patch_sizes):
        data, t = bench.data[row["data"]], row["t"]
        pool, x_t = data.first(row["images"]), data.noisy(t)
        times = bench.best_times({name: partial(MACHINES[name].build(pool, row["P"]), x_t, t) for name in ("bbELS", "ELS")})
        yield {**row, "time / ELS": times["bbELS"][0] / times["ELS"][0]}


def local(bench):
    """LS against naive"""
    yield from against_naive(bench, "LS", bench.effort.local_sizes)


def ideal(bench):
    """IS against what matrix products and reading reach in this process"""
    square, long = torch.randn(bench.effort.gemm_side, bench.effort.gemm_side), torch.ones(bench.effort.read_bytes // 4)
    peaks = bench.best_times({"gemm": lambda: square @ square, "read": long.sum})
    flops, bandwidth = 2 * len(square) ** 3 / peaks["gemm"][0], long.nbytes / peaks["read"][0]
    for data_name, data in bench.data.items():
        for pool in {data.pool.stored.dtype: data.pool, torch.float32: pm.ImageSet(data.pool.images)}.values():
            machine = pm.IdealDenoiser(pool)
            for t in (0.1, 0.5, 0.95):
                x_t = data.noisy(t, 64)
                calls = {count: partial(machine, x_t[:count], t) for count in (64, 1)}
                calls["naive"] = partial(naive.ideal, x_t[:1], pool.images, *scales_at(t))
                times = {key: seconds for key, (seconds, _) in bench.best_times(calls).items()}
                # Two products: 64 queries with every image, and every image with its 64 weights.
                rate, read = 4 * 64 * pool.stored.numel() / times[64], pool.stored.nbytes / times[1]
                yield {
                    "data": data_name,
                    "kept as": str(pool.stored.dtype).removeprefix("torch."),
                    "images": len(pool),
                    "t": t,
                    "batch 64, GFLOP/s": 1e-9 * rate,
                    "GEMM peak": 1e-9 * flops,
                    "share": rate / flops,
                    "batch 1, GB/s": 1e-9 * read,
                    "read peak": 1e-9 * bandwidth,
                    "share of it": read / bandwidth,
                    "batch 1, ratio to naive": times["naive"] / times[1],
                }


def all_at_once(bench):
    """All patch sizes at once against one"""
    for data_name, name in product(bench.data, MACHINES):
        yield _all_at_once(bench, data_name, name)


def _all_at_once(bench, data_name, name, t=0.5):
    data, machine, sizes = bench.data[data_name], MACHINES[name], bench.effort.at_once
    x_t = data.noisy(t)

    def all_sizes(count):
        return partial(machine.build(data.first(count), sizes[0]).at_patch_sizes, x_t, t, sizes)

    count = bench.enough_images(all_sizes, len(data.pool))
    calls = {"all": all_sizes(count), **{size: partial(machine.build(data.first(count), size), x_t, t) for size in sizes}}
    times = {key: seconds / count for key, (seconds, _) in bench.best_times(calls).items()}
    singles = [times[size] for size in sizes]
    return {
        "data": data_name,
        "machine": name,
        "t": t,
        "images": count,
        f"all {len(sizes)}, µs/image": 1e6 * times["all"],
        **{f"P = {size}": 1e6 * times[size] for size in sizes},
        "all / dearest": times["all"] / max(singles),
        "all / mean": times["all"] / statistics.mean(singles),
        "all / sum": times["all"] / sum(singles),
    }


def errors(bench):
    """Relative L2 errors of float32 answers against float64, the worse of two images, and the worst pixel of all"""
    for data_name, (name, patch_size) in product(bench.data, [*product(MACHINES, bench.effort.error_sizes), ("IS", None)]):
        yield _errors(bench, data_name, name, patch_size)


def _errors(bench, data_name, name, patch_size):
    data = bench.data[data_name]

    def machine(count):
        pool = data.first(count)
        return pm.IdealDenoiser(pool) if name == "IS" else MACHINES[name].build(pool, patch_size)

    in_float64 = data.noisy(0.5, 2).double()
    count = bench.enough_images(lambda images: partial(machine(images), in_float64, 0.5), len(data.pool))
    denoiser, found, worst = machine(count), {}, 0.0
    for t in bench.effort.error_times:
        x_t = data.noisy(t, 2)
        truth = denoiser(x_t.double(), t)
        difference = denoiser(x_t, t) - truth
        found[f"t = {t}"] = float((difference.flatten(1).norm(dim=1) / truth.flatten(1).norm(dim=1)).max())
        worst = max(worst, float(difference.abs().max()))
    where = {"data": data_name, "machine": name, "P": patch_size or "", "images": count}
    return {**where, **found, "largest": max(found.values()), "worst pixel": worst}


def without_native(bench):
    """ELS and LS against naive, without the native kernel"""
    if os.environ.get("PATCHMOSAIC_NATIVE") == "0":
        yield from against_naive(bench, "ELS", bench.effort.patch_sizes)
        yield from against_naive(bench, "LS", bench.effort.local_sizes)
        return
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "rows.json"
        command = [sys.executable, __file__, *sys.argv[1:], "--only", "I", "--json", str(answer)]
        environment = {**os.environ, "PATCHMOSAIC_NATIVE": "0"}
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
        yield from json.loads(answer.read_text())["I"]


def share_of_bound(bench):
    """ELS (valid) against its operation count: see docs/engine.md"""
    if instruction_set() is None:
        yield {"data": "the native kernel is not built here: there is nothing to judge"}
        return
    roof = partial(kernel.multiply_adds, bench.effort.rounds, torch.get_num_threads(), instruction_set())
    numbers, lanes = roof(), 16
    issued = numbers / lanes / bench.best_times({"roof": roof})["roof"][0]  # vector operations a second
    for (data_name, data), patch_size in product(bench.data.items(), bench.effort.patch_sizes):
        t = data.times(patch_size)[0]
        x_t = data.noisy(t)
        channels, height, width = data.pool.image_shape

        def call(count, data=data, patch_size=patch_size, x_t=x_t, t=t):
            return partial(MACHINES["ELS"].build(data.first(count), patch_size), x_t, t)

        count = bench.enough_images(call, len(data.pool))
        seconds = bench.best_times({"ours": call(count)})["ours"][0] / count
        vectors, inner = width / 16, (height - patch_size + 1, width - patch_size + 1)
        patches = height * inner[0] * inner[1] * vectors
        least = height * width * vectors * (height + inner[0] - 1) * channels + 4 * patches
        broad = (10 + channels) * patches
        yield {
            "data": data_name,
            "P": patch_size,
            "t": t,
            "µs/image": 1e6 * seconds,
            "G pairs/s": 1e-9 * height * width * inner[0] * inner[1] / seconds,
            "share of the bound, no patch weighed": least / issued / seconds,
            "all weighed": (least + broad) / issued / seconds,
        }


SECTIONS = {
    "A": els,
    "B": schedule,
    "C": trajectory,
    "D": boundary_broken,
    "E": local,
    "F": ideal,
    "G": all_at_once,
    "H": errors,
    "I": without_native,
    "J": share_of_bound,
}


def show(console, title, rows):
    """Draw rows, dictionaries by column, as they come; return them all."""
    kept = []
    with Live(console=console, vertical_overflow="visible") as live:
        for row in rows:
            kept.append(row)
            table = Table(title=title, title_justify="left")
            columns = dict.fromkeys(column for each in kept for column in each)
            for column in columns:
                table.add_column(column, justify="right")
            for each in kept:
                table.add_row(*(_text(each.get(column, "")) for column in columns))
            live.update(table)
    console.print()
    return kept


def _text(value):
    if isinstance(value, str):
        return value
    return f"{value:.3g}" if isinstance(value, float) and abs(value) < 1000 else f"{value:,.0f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help='data sets with a test split, comma between, or "synthetic"')
    parser.add_argument("--only", help="sections, comma between")
    parser.add_argument("--trajectory", action="store_true", help="C too")
    parser.add_argument("--seconds", type=float, help="for each cell of a table; 15 by default")
    parser.add_argument("--quick", action="store_true", help="few images and cells, once: shows that all runs, not how fast")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, help="write all rows here, after each section")
    options = parser.parse_args()

    torch.set_num_threads(options.threads)
    effort = QUICK if options.quick else Effort()
    bench = Bench(
        load_data(options.data, 256 if options.quick else None), replace(effort, seconds=options.seconds or effort.seconds)
    )
    heading = {
        "data": ", ".join(repr(data.pool) for data in bench.data.values()),
        "effort": f"{options.threads} threads" + ", quick: the figures mean little" * options.quick,
        "machine": f"torch {torch.__version__}, kernel {instruction_set() or 'plain torch'}, {platform.platform()}",
    }
    console = Console(width=None if sys.stdout.isatty() else 200, highlight=False)
    console.print(*heading.values(), "", sep="\n")
    default = [letter for letter in SECTIONS if letter != "C" or options.trajectory]
    results = dict(heading)
    for letter in options.only.split(",") if options.only else default:
        section = SECTIONS[letter]
        results[letter] = show(console, f"{letter}. {section.__doc__}", section(bench))
        if options.json:
            options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
