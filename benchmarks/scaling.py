"""How the time of a step goes with the pool and the number of processes, and what that means for pools that are larger.

    python benchmarks/scaling.py [--images 500 1000 2000 4000] [--processes 1 2] [--queries 2] [--hop 20] [--speed 1.2]

Every process has one thread. Prints measured steps of an ELS machine and measured merges, both beside the model

    step  = fixed + queries images side^4 / (processes rate) + merge
    merge = 4 (processes - 1) hop + 2 (processes - 1) / processes * bytes / speed,    bytes = 8 queries (channels + 2) side^2

with `fixed` and `rate` fitted to the steps, `hop` and `speed` to the merges, which go through this machine's memory; and what
it foretells up to 10^9 images, with --hop (microseconds) and --speed (GB/s) for another network. A merge is two all_reduces
over a ring: each sends 2 (processes - 1) messages. See docs/scaling.md.
"""

import argparse
import multiprocessing
import os
import statistics
import time
from dataclasses import dataclass, replace

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

import patchmosaic as pm
from patchmosaic.engine.distributed import launched
from patchmosaic.engine.posterior import PosteriorSum

MERGED = (1, 4, 16, 64)  # queries
PLANNED = {"images": (50_000, 10**6, 10**7, 10**8, 10**9), "processes": (1, 8, 64, 512)}


@dataclass(frozen=True)
class Model:
    """The four constants, and what follows from them."""

    options: argparse.Namespace
    fixed: float
    rate: float
    hop: float
    speed: float

    def merge(self, processes: int, queries: int) -> float:
        """Seconds to merge the posteriors of so many queries."""
        sent = 2 * (processes - 1) / processes * state_bytes(self.options, queries)
        return 4 * (processes - 1) * self.hop + sent / self.speed

    def step(self, images: int, processes: int) -> float:
        """Seconds of a denoising step."""
        work = pairs(self.options, images) / (processes * self.rate)
        return self.fixed + work + self.merge(processes, self.options.queries)

    def break_even(self, processes: int) -> float:
        """The number of images from which on so many processes are quicker than one."""
        return self.merge(processes, self.options.queries) * self.rate / pairs(self.options, 1) / (1 - 1 / processes)


def pairs(options, images):
    """Pairs of a pixel and a training patch in a step."""
    return options.queries * images * options.side**4


def state_bytes(options, queries):
    """Size of a PosteriorSum in float64."""
    return 8 * queries * (options.channels + 2) * options.side**2


def measure(rank, world, port, options, results):
    """In each process: seconds of a step for each pool, and of a merge for each number of queries."""
    torch.set_num_threads(1)
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(world))
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), TORCHELASTIC_USE_AGENT_STORE="True")
    shape = (options.channels, options.side, options.side)
    # Smooth images: like real ones, they have near matches.
    noise = pm.seeds(max(options.images), shape, seed=7)
    images = torch.nn.functional.avg_pool2d(noise, 5, stride=1, padding=2).mul(3).clamp(-1, 1)
    with launched() as ranks:

        def timed(function):
            ranks.from_first(lambda: None)  # all begin together
            start = time.perf_counter()
            function()
            return time.perf_counter() - start

        steps, merges = {}, {}
        for count in options.images:
            machine = pm.EquivariantLocalDenoiser(pm.ImageSet(images[:count]), options.patch_size).distribute(ranks)
            alpha, sigma = (float(scale) for scale in machine.schedule(options.t))
            x_t = alpha * images[: options.queries] + sigma * pm.seeds(options.queries, shape)
            steps[count] = min(timed(lambda machine=machine, x_t=x_t: machine(x_t, options.t)) for _ in range(options.repeats))
        for queries in MERGED if world > 1 else ():
            state = PosteriorSum.empty(queries, shape, per_pixel=True, device=torch.device("cpu"))
            merges[queries] = statistics.median(timed(lambda state=state: ranks.merge(state)) for _ in range(30))
        if ranks.first:
            results.put((steps, merges))


def in_processes(world, options):
    """`measure` in so many processes: ({images: seconds}, {queries: seconds})."""
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    store = torch.distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    processes = [context.Process(target=measure, args=(rank, world, store.port, options, results)) for rank in range(world)]
    for process in processes:
        process.start()
    measured = results.get(timeout=600)
    for process in processes:
        process.join()
    return measured


def least_squares(rows, targets):
    """Constants, not negative, with the smallest relative errors."""
    rows, targets = np.array(rows, float), np.array(targets, float)
    constants, *_ = np.linalg.lstsq(rows / targets[:, None], np.ones(len(targets)), rcond=None)
    return np.maximum(constants, 1e-15)


def fitted(options, steps, merges):
    """The model of the measured runs. Processes share a machine here: the time of their merges is taken as measured."""
    hop, per_byte = least_squares(
        [
            (4 * (world - 1), 2 * (world - 1) / world * state_bytes(options, queries))
            for world, times in merges.items()
            for queries in times
        ],
        [seconds for times in merges.values() for seconds in times.values()],
    )
    model = Model(options, 0.0, 1.0, hop, 1 / per_byte)
    fixed, per_pair = least_squares(
        [(1, pairs(options, images) / world) for world, times in steps.items() for images in times],
        [seconds - model.merge(world, options.queries) for world, times in steps.items() for seconds in times.values()],
    )
    return Model(options, fixed, 1 / per_pair, hop, 1 / per_byte)


def table(title, *headings):
    made = Table(title=title, title_justify="left")
    for heading in headings:
        made.add_column(heading, justify="right")
    return made


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=[500, 1000, 2000, 4000])
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--queries", type=int, default=2)
    parser.add_argument("--channels", type=int, default=3)
    parser.add_argument("--side", type=int, default=32)
    parser.add_argument("--patch-size", type=int, default=7)
    parser.add_argument("--t", type=float, default=0.6)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--hop", type=float, help="microseconds of a message, in the plan")
    parser.add_argument("--speed", type=float, help="GB/s, in the plan")
    options = parser.parse_args()
    if max(options.processes) < 2:
        parser.error("a merge needs two processes")

    measured = {world: in_processes(world, options) for world in options.processes}
    steps = {world: times for world, (times, _) in measured.items()}
    merges = {world: times for world, (_, times) in measured.items() if times}
    model = fitted(options, steps, merges)

    console = Console()
    side = f"{options.side}x{options.side}x{options.channels}"
    rows = table(
        f"ELS, P = {options.patch_size}, {side}, {options.queries} queries: seconds a step",
        *("images", "processes", "measured", "model", "G pairs/s", "times one process"),
    )
    for images in options.images:
        for world, times in steps.items():
            seconds, alone = times[images], steps.get(1, {}).get(images)
            speedup = "" if alone is None else f"{alone / seconds:.2f}"
            rate = f"{pairs(options, images) / seconds / 1e9:.2f}"
            rows.add_row(f"{images:,}", f"{world}", f"{seconds:.3f}", f"{model.step(images, world):.3f}", rate, speedup)
    console.print(rows)
    rows = table("merge", "processes", "queries", "KiB", "measured ms", "model ms")
    for world, times in merges.items():
        for queries, seconds in times.items():
            size = f"{state_bytes(options, queries) / 1024:,.0f}"
            rows.add_row(f"{world}", f"{queries}", size, f"{1e3 * seconds:.2f}", f"{1e3 * model.merge(world, queries):.2f}")
    console.print(rows)
    console.print(
        f"fitted: fixed {1e3 * model.fixed:.1f} ms, rate {model.rate / 1e9:.2f} G pairs/s a process, "
        f"hop {1e6 * model.hop:.0f} us, speed {model.speed / 1e9:.2f} GB/s; "
        f"two processes are quicker than one from {model.break_even(2):.1f} images"
    )
    hop = model.hop if options.hop is None else options.hop / 1e6
    speed = model.speed if options.speed is None else options.speed * 1e9
    model = replace(model, hop=hop, speed=speed)
    console.print(f"\nforetold, with a hop of {1e6 * hop:.0f} us and {speed / 1e9:.2f} GB/s")
    rows = table("seconds a step, by processes", "images", *(f"{world}" for world in PLANNED["processes"]))
    for images in PLANNED["images"]:
        rows.add_row(f"{images:,}", *(f"{model.step(images, world):,.3g}" for world in PLANNED["processes"]))
    console.print(rows)


if __name__ == "__main__":
    main()
