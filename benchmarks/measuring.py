"""How long calls take: the best of alternating repeats, over pools that keep them busy."""

import math
import time
from dataclasses import dataclass

import naive
from workloads import STEPS, Data


@dataclass(frozen=True)
class Effort:
    """How much is measured."""

    seconds: float = 15.0  # for each cell
    repeats: int = 2  # at least
    patch_sizes: tuple[int, ...] = (3, 5, 7, 11, 17, 25)
    local_sizes: tuple[int, ...] = (3, 17)  # of LS
    ends: tuple[int, ...] = (0, -1)  # of the noise levels at which a patch size is used: lowest and highest
    steps: tuple[int, ...] = tuple(range(STEPS))  # of a schedule
    at_once: tuple[int, ...] = (3, 5, 7, 9, 11, 13, 15, 17)
    error_sizes: tuple[int, ...] = (3, 7, 17)
    error_times: tuple[float, ...] = (0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.95, 1.0)
    images: int = 2 * naive.MINIBATCH  # in the smallest pool
    gemm_side: int = 4096
    read_bytes: int = 2**30
    rounds: int = 2 * 10**7  # of multiply-adds


QUICK = Effort(
    seconds=0.2,
    repeats=1,
    patch_sizes=(3, 17),
    ends=(0,),
    steps=(0, 19),
    at_once=(3, 17),
    error_sizes=(3, 17),
    error_times=(0.02, 1.0),
    images=8,
    gemm_side=1024,
    rounds=10**5,
    read_bytes=2**26,
)


@dataclass(frozen=True, eq=False)
class Bench:
    """What every section is given."""

    data: dict[str, Data]
    effort: Effort

    def best_times(self, calls):
        """{name: (best seconds, result)} of calls that take turns, as often as the effort allows."""
        best = dict.fromkeys(calls, (math.inf, None))
        begun, rounds = time.perf_counter(), 0
        while rounds < self.effort.repeats or (time.perf_counter() - begun) * (rounds + 1) / rounds < self.effort.seconds:
            for name, call in calls.items():
                start = time.perf_counter()
                result = call()
                best[name] = (min(best[name][0], time.perf_counter() - start), result)
            rounds += 1
        return best

    def enough_images(self, call_with, most):
        """How many images, up to `most`, keep `call_with(images)()` busy for a share of a cell's seconds."""
        count = min(self.effort.images, most)
        while count < most:
            call = call_with(count)
            start = time.perf_counter()
            call()
            if time.perf_counter() - start > self.effort.seconds / 16:
                break
            count = min(2 * count, most)
        return count
