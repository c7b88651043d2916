"""From noise to an image: DDIM, Heun's method, and the seeds they start from.

    eps_hat = (x_t - alpha_t x0_hat) / sigma_t,        x_s = alpha_s x0_hat + sqrt(sigma_s² - c²) eps_hat + c z

from t = 1 down, on a uniform grid of times or on a given one. z is fresh noise and c = eta sigma_s sqrt(1 - snr_t / snr_s):
eta = 1 is DDPM, and eta = 0 Euler's method for the probability flow dy/dL = eps_hat of y = x / alpha, L = sigma / alpha. The
last step goes to clean data, alpha = 1 and sigma = 0, whatever the schedule says of t = 0: the sample is the x0_hat of the last
time, 1/steps on the uniform grid.

References:
    Song, Meng & Ermon 2021, "Denoising diffusion implicit models", eq. 12 and 16; Karras et al. 2022, algorithm 1 (Heun);
    Wang & Vastola 2024, "The unreasonable effectiveness of Gaussian score approximation" (teleportation).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64, Int64
from torch import Tensor

from patchmosaic.denoisers.base import Denoiser, eps_from_x0, per_sample
from patchmosaic.denoisers.linear.wiener import WienerDenoiser
from patchmosaic.errors import LabelError, NoiseLevelError, PatchMosaicError, ValueRangeError
from patchmosaic.noise import NoiseSchedule
from patchmosaic.progress import Progress, silent

Solver = Literal["ddim", "heun"]
StepNoise = Callable[[int], Tensor]  # the number of a step -> its noise N(0, I), (B, C, H, W)


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
    times: Tensor | None = None,
    eta: float = 0.0,
    noise: StepNoise | None = None,
) -> Iterator[Step]:
    """The steps of a DDIM trajectory, one at a time: the caller decides what to keep.

    Args:
        denoiser: anything that maps (x_t, t, label) to x0_hat.
        x_T: the state at the first time: `seeds(...) * denoiser.schedule.prior_std()` at t = 1.
        steps: number of denoiser calls, at `uniform_times(steps)`.
        label: class of each image, where the denoiser is conditional.
        done: go on after so many of the steps, from `x_T`, the state that they led to.
        times: (steps,) the times of the calls instead, decreasing in (0, 1].
        eta: from 0, deterministic, to 1, DDPM.
        noise: what is added at each step where eta > 0; `step_noise` of samples 0 to B - 1 by default.

    Raises:
        PatchMosaicError: fewer than one step.
        NoiseLevelError: times that do not decrease, or lie outside (0, 1].
        ValueRangeError: eta outside [0, 1].
    """
    if not 0 <= eta <= 1:
        raise ValueRangeError("eta must lie in [0, 1]", got=eta, hint="0 is deterministic, 1 is DDPM.")
    if eta > 0 and noise is None:
        noise = step_noise(len(x_T), x_T.shape[1:])
    x_t = x_T
    for i, t, s in _steps(steps, times, done):
        x0_hat = denoiser(x_t, t, label)
        if s is None:
            x_next = x0_hat
        elif noise is None or eta == 0:
            x_next = _ddim_step(denoiser, x_t, x0_hat, t, s)
        else:
            kept, added = noise_split(denoiser.schedule, t, s, eta)
            x_next = _ddim_step(denoiser, x_t, x0_hat, t, s, kept) + added.to(x_t) * noise(i).to(x_t)
        yield Step(t, x_t, x0_hat, x_next)
        x_t = x_next


def heun(
    denoiser: Denoiser,
    x_T: Float[Tensor, "B C H W"],
    steps: int = 20,
    label: int | Tensor | None = None,
    *,
    done: int = 0,
    times: Tensor | None = None,
) -> Iterator[Step]:
    """The steps of Heun's second-order method along the probability flow: DDIM with the mean of eps_hat at both its ends.

    Two denoiser calls a step, but one where the noise level L starts at infinity (alpha_t = 0) or ends at 0: there it is DDIM.
    Arguments and errors as for `ddim`.
    """
    x_t = x_T
    for _, t, s in _steps(steps, times, done):
        x0_hat = denoiser(x_t, t, label)
        x_next = x0_hat if s is None else _ddim_step(denoiser, x_t, x0_hat, t, s)
        if s is not None and (distance := _distance(denoiser.schedule, t, s)).isfinite():
            (alpha_t, sigma_t), (alpha_s, _) = _scales(denoiser.schedule, t, x_t), _scales(denoiser.schedule, s, x_t)
            change = denoiser.eps(x_next, s, label) - eps_from_x0(x_t, x0_hat, alpha_t, sigma_t)
            x_next = x_next + alpha_s * distance.to(x_t) / 2 * change
        yield Step(t, x_t, x0_hat, x_next)
        x_t = x_next


def sample(
    denoiser: Denoiser,
    x_T: Float[Tensor, "B C H W"],
    steps: int = 20,
    label: int | Tensor | None = None,
    *,
    times: Tensor | None = None,
    solver: Solver = "ddim",
    eta: float = 0.0,
    noise: StepNoise | None = None,
    progress: Progress = silent,
) -> Trajectory:
    """Run a solver down to clean data and keep every state. Arguments and errors as for `ddim`; Heun takes no eta."""
    total = steps if times is None else len(times)
    kept = []
    for step in solve(denoiser, x_T, steps, label, times=times, solver=solver, eta=eta, noise=noise):
        kept.append(step)
        progress("denoising", len(kept), total)
    return Trajectory(
        times=torch.tensor([step.t for step in kept], dtype=torch.float64),
        states=torch.stack([*(step.x_t for step in kept), kept[-1].x_next]),
        x0_hats=torch.stack([step.x0_hat for step in kept]),
    )


def solve(
    denoiser: Denoiser,
    x_T: Float[Tensor, "B C H W"],
    steps: int = 20,
    label: int | Tensor | None = None,
    *,
    done: int = 0,
    times: Tensor | None = None,
    solver: Solver = "ddim",
    eta: float = 0.0,
    noise: StepNoise | None = None,
) -> Iterator[Step]:
    """`ddim` or `heun` by name.

    Raises:
        PatchMosaicError: Heun with eta > 0; and what `ddim` raises.
    """
    if solver == "ddim":
        return ddim(denoiser, x_T, steps, label, done=done, times=times, eta=eta, noise=noise)
    check_solver(solver, eta)
    return heun(denoiser, x_T, steps, label, done=done, times=times)


def check_solver(solver: str, eta: float) -> None:
    """That there is such a solver, and that it takes such an eta.

    Raises:
        PatchMosaicError: it is not so.
    """
    if solver not in ("ddim", "heun"):
        raise PatchMosaicError("no such solver", got=solver, hint="Known: ddim, heun.")
    if solver == "heun" and eta != 0:
        raise PatchMosaicError("Heun's method is deterministic: eta must be 0", got=eta, hint='Try solver="ddim".')


def teleport(
    gaussian: WienerDenoiser, x_T: Float[Tensor, "B C H W"], t: float, label: int | Tensor | None = None
) -> Float[Tensor, "B C H W"]:
    """The state at time t from which to sample instead of x_T: early on every denoiser acts as the Gaussian does.

        x_t = alpha_t mu + sum_k sqrt((alpha_t² l_k + sigma_t²) / (alpha_1² l_k + sigma_1²)) u_k u_k' (x_T - alpha_1 mu)

    is the exact probability flow of the Gaussian of variances l_k; then `sample(denoiser, x_t, times=uniform_times(steps, t))`.
    """
    return gaussian.flow(x_T, 1.0, t, label)


def uniform_times(steps: int, start: float = 1.0) -> Float64[Tensor, " steps"]:
    """start, ..., 2 start/steps, start/steps.

    Raises:
        PatchMosaicError: fewer than one step.
    """
    if steps < 1:
        raise PatchMosaicError("a trajectory has at least one step", got=steps)
    return torch.arange(steps, 0, -1, dtype=torch.float64) / steps * start


def log_uniform_times(
    schedule: NoiseSchedule, steps: int, lowest: float, highest: float | None = None
) -> Float64[Tensor, " steps"]:
    """Times whose noise levels sigma/alpha fall from `highest` (by default that of t = 1) to `lowest` by equal factors.

    Raises:
        NoiseLevelError: they do not fall, or the schedule has no such levels at t > 0.
    """
    top = schedule.noise_level(1.0) if highest is None else torch.tensor(highest, dtype=torch.float64)
    bottom = float(schedule.noise_level(0.0))
    if not (0 < lowest < float(top) < float("inf") and bottom < lowest):
        raise NoiseLevelError(
            f"noise levels must fall from a finite one to one above {bottom}, that of t = 0", got=f"{float(top)} to {lowest}"
        )
    exponents = torch.linspace(0, 1, steps, dtype=torch.float64)
    return schedule.time_of_snr((top ** (1 - exponents) * lowest**exponents) ** -2)


def checked_times(steps: int, times: Tensor | None) -> Float64[Tensor, " steps"]:
    """The uniform times, or those given.

    Raises:
        PatchMosaicError: there are none.
        NoiseLevelError: they do not decrease, or lie outside (0, 1].
    """
    if times is None:
        return uniform_times(steps)
    times = times.double()
    if times.ndim != 1 or len(times) == 0:
        raise PatchMosaicError("times are (steps,), at least one", got=tuple(times.shape))
    if not (bool((times.diff() < 0).all()) and times[-1] > 0 and times[0] <= 1):
        raise NoiseLevelError("times must decrease inside (0, 1]", got=f"{len(times)} times from {times[0]} to {times[-1]}")
    return times


def noise_split(schedule: NoiseSchedule, t: float | Tensor, s: float | Tensor, eta: float) -> tuple[Tensor, Tensor]:
    """The standard deviations at time s of the noise that a step from t keeps of eps_hat, and of that which it adds."""
    _, sigma_s = schedule(s)
    added = eta * sigma_s * (1 - schedule.snr(t) / schedule.snr(s)).sqrt()
    return (sigma_s**2 - added**2).sqrt(), added


def _steps(steps: int, times: Tensor | None, done: int) -> list[tuple[int, float, float | None]]:
    """(number, t, s) of the steps after the first `done`; s is None where it is clean data."""
    t = checked_times(steps, times).tolist()
    return list(zip(range(len(t)), t, [*t[1:], None], strict=True))[done:]


def _ddim_step(denoiser: Denoiser, x_t: Tensor, x0_hat: Tensor, t: float, s: float, kept: Tensor | None = None) -> Tensor:
    (alpha_t, sigma_t), (alpha_s, sigma_s) = _scales(denoiser.schedule, t, x_t), _scales(denoiser.schedule, s, x_t)
    noise = sigma_s if kept is None else kept.to(x_t)
    return alpha_s * x0_hat + noise * eps_from_x0(x_t, x0_hat, alpha_t, sigma_t)


def _scales(schedule: NoiseSchedule, t: float, x_t: Tensor) -> tuple[Tensor, Tensor]:
    alpha, sigma = schedule(t)
    return per_sample(alpha[None], x_t), per_sample(sigma[None], x_t)


def _distance(schedule: NoiseSchedule, t: float, s: float) -> Tensor:
    """From t to s in noise level, L_s - L_t: what a step of Heun integrates over."""
    return schedule.noise_level(s) - schedule.noise_level(t)


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


def step_noise(n: int | Sequence[int], shape: Sequence[int], seed: int = 0) -> StepNoise:
    """The noise of every step with eta > 0 for the samples that `seeds` numbers the same.

    Like theirs it depends on stream and number alone, beside the step: a trajectory that is taken up again at any step, in any
    batch, goes on as it would have.
    """
    numbers = _numbers(n)
    return lambda step: torch.stack([torch.randn(tuple(shape), generator=_generator(seed, i, 2, step)) for i in numbers])


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
