"""From noise to an image: DDIM, and the seeds it starts from.

    eps_hat = (x_t - alpha_t x0_hat) / sigma_t,        x_s = alpha_s x0_hat + sigma_s eps_hat

on a uniform grid of times from t = 1 down. The last step goes to clean data, alpha = 1 and sigma = 0, whatever the schedule
says of t = 0: the sample is the x0_hat of the last time, t = 1/steps.

References:
    Song, Meng & Ermon 2021, "Denoising diffusion implicit models", eq. 12 with eta = 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64, Int64
from torch import Tensor

from patchmosaic.denoisers.base import Denoiser, eps_from_x0, per_sample
from patchmosaic.errors import LabelError, PatchMosaicError
from patchmosaic.progress import Progress, silent


@dataclass(frozen=True)
class Step:
    """One denoising step: the state x_t at time t, the x0_hat seen from it, and the next state."""

    t: float
    x_t: Float[Tensor, "B C H W"]
    x0_hat: Float[Tensor, "B C H W"]
    x_next: Float[Tensor, "B C H W"]


@dataclass(frozen=True)
class Trajectory:
    """A whole reverse process.

    Attributes:
        times: (steps,) decreasing, the times of `x0_hats`.
        states: (steps + 1, B, C, H, W), from x_T to the sample; states[i] is x_t at times[i].
        x0_hats: (steps, B, C, H, W).
    """

    times: Float64[Tensor, " steps"]
    states: Float[Tensor, "states B C H W"]
    x0_hats: Float[Tensor, "steps B C H W"]

    @property
    def x0(self) -> Float[Tensor, "B C H W"]:
        """The samples."""
        return self.states[-1]


def ddim(
    denoiser: Denoiser,
    x_T: Float[Tensor, "B C H W"],
    steps: int = 20,
    label: int | Tensor | None = None,
    *,
    done: int = 0,
) -> Iterator[Step]:
    """The steps of a DDIM trajectory, one at a time: the caller decides what to keep.

    Args:
        denoiser: anything that maps (x_t, t, label) to x0_hat.
        x_T: the state at t = 1: `seeds(...) * denoiser.schedule.prior_std()`.
        steps: number of denoiser calls.
        label: class of each image, where the denoiser is conditional.
        done: go on after so many of the steps, from `x_T`, the state that they led to.

    Raises:
        PatchMosaicError: fewer than one step.
    """
    if steps < 1:
        raise PatchMosaicError("a trajectory has at least one step", got=steps)
    times = torch.arange(steps, 0, -1, dtype=torch.float64) / steps
    x_t = x_T
    for i, t in list(enumerate(times.tolist()))[done:]:
        x0_hat = denoiser(x_t, t, label)
        x_next = x0_hat if i + 1 == steps else _ddim_step(denoiser, x_t, x0_hat, t, float(times[i + 1]))
        yield Step(t, x_t, x0_hat, x_next)
        x_t = x_next


def _ddim_step(denoiser: Denoiser, x_t: Tensor, x0_hat: Tensor, t: float, s: float) -> Tensor:
    (alpha_t, sigma_t), (alpha_s, sigma_s) = (
        (per_sample(scale[None], x_t) for scale in denoiser.schedule(time)) for time in (t, s)
    )
    return alpha_s * x0_hat + sigma_s * eps_from_x0(x_t, x0_hat, alpha_t, sigma_t)


def sample(
    denoiser: Denoiser,
    x_T: Float[Tensor, "B C H W"],
    steps: int = 20,
    label: int | Tensor | None = None,
    *,
    progress: Progress = silent,
) -> Trajectory:
    """Run `ddim` from t = 1 to 0 and keep every state. Arguments and errors as for `ddim`."""
    kept = []
    for step in ddim(denoiser, x_T, steps, label):
        kept.append(step)
        progress("denoising", len(kept), steps)
    return Trajectory(
        times=torch.tensor([step.t for step in kept], dtype=torch.float64),
        states=torch.stack([*(step.x_t for step in kept), kept[-1].x_next]),
        x0_hats=torch.stack([step.x0_hat for step in kept]),
    )


def seeds(n: int | Sequence[int], shape: Sequence[int], seed: int = 0) -> Float32[Tensor, "n C H W"]:
    """Gaussian noise N(0, I) for `n` samples, or for the samples numbered in `n`.

    Drawn on the CPU with one generator a sample, so that sample i of stream `seed` is the same whatever the batch size, the
    device and the other samples.

    Args:
        n: how many (samples 0 to n - 1), or which.
        shape: (C, H, W).
        seed: which independent stream of samples.
    """
    return torch.stack([torch.randn(tuple(shape), generator=_generator(seed, i)) for i in _numbers(n)])


def seed_labels(n: int | Sequence[int], classes: Sequence[int], seed: int = 0) -> Int64[Tensor, " n"]:
    """A uniformly random class for each sample that `seeds` numbers the same, drawn independently of its noise.

    Raises:
        LabelError: there are no classes.
    """
    if not classes:
        raise LabelError("random labels need classes", got="none")
    known = torch.tensor(sorted(classes))
    picks = [int(torch.randint(len(known), (), generator=_generator(seed, i, 1))) for i in _numbers(n)]
    return known[torch.tensor(picks, dtype=torch.int64)]


def _numbers(n: int | Sequence[int]) -> list[int]:
    numbers = list(range(n)) if isinstance(n, int) else [int(i) for i in n]
    if not numbers or min(numbers) < 0:
        raise PatchMosaicError("samples are numbered from 0, and there must be at least one", got=n)
    return numbers


def _generator(*key: int) -> torch.Generator:
    if key[0] < 0:
        raise PatchMosaicError("a stream of seeds is a whole number from 0 up", got=key[0])
    # SeedSequence mixes (stream, sample, purpose) into 64 bits: neighbouring keys give unrelated noise.
    low, high = np.random.SeedSequence(entropy=key[0], spawn_key=key[1:]).generate_state(2, np.uint32)
    return torch.Generator().manual_seed(int(low) | int(high) << 32)
