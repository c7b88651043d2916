"""The law of what any denoiser of one number generates: its sampler carries x_T = m + s z, z ~ N(0, 1), to x0 = T(z).

    F(x) = P(T(z) <= x),        q(x) = sum over T(z) = x of phi(z) / |T'(z)|

T is found at many z by the sampler itself, so finite steps and the solver count as they are. In the continuous limit it is the
solution of the probability flow dy/dln(sigma) = y - D(y, sigma), which never folds the line; then

    log q(x0) = log N(y_T; m, s²) + int_0^sigma_T d/dy[(y - D) / sigma] dsigma

and T is the increasing map that carries the one law to the other. Steps that are too long may fold the line: then q has a term
for each sheet.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float64
from numpy.typing import NDArray
from torch import Tensor

from patchmosaic.denoisers.base import Denoiser
from patchmosaic.errors import NoiseLevelError, PatchMosaicError
from patchmosaic.laws.base import Drawing, Law, law_of
from patchmosaic.laws.line import Numbers
from patchmosaic.sampling import solve

REACH = 8.0  # standard deviations of x_T: beyond lies a mass of 1e-15
KNOTS = 2001
LOWEST_LEVEL = 1e-3  # of the continuous limit: below it x0_hat moves by the order of its square
FLAT = 1e-12  # of the range of T: less is rounding
FLOW_STEPS = 200  # of the continuous limit
BISECTIONS = 40


@dataclass(frozen=True)
class TransportedLine:
    """The law of T(z), z ~ N(0, 1).

    Attributes:
        z, values: (n,) knots, evenly spaced, and T there; between them T is cubic.
    """

    z: Numbers
    values: Numbers

    @cached_property
    def slopes(self) -> Numbers:
        """T' at the knots, of fourth order inside."""
        step, t = self.z[1] - self.z[0], self.values
        slopes = np.gradient(t, step)
        slopes[2:-2] = (8 * (t[3:-1] - t[1:-3]) - (t[4:] - t[:-4])) / (12 * step)
        return slopes

    @cached_property
    def transport(self) -> Any:
        """T, as a function of z."""
        from scipy.interpolate import CubicHermiteSpline

        return CubicHermiteSpline(self.z, self.values, self.slopes)

    @cached_property
    def sheets(self) -> list[slice]:
        """The knots between two folds: T is monotone on each; one where it does not fold."""
        rises = np.diff(self.values)
        rises[np.abs(rises) < FLAT * np.ptp(self.values)] = 0
        moving = np.flatnonzero(rises)
        turns = moving[1:][np.sign(rises[moving[1:]]) != np.sign(rises[moving[:-1]])]
        ends = [0, *turns.tolist(), len(self.z) - 1]
        return [slice(start, stop + 1) for start, stop in pairwise(ends)]

    def cdf(self, x: NDArray[Any]) -> Numbers:
        """P(T <= x)."""
        from scipy.special import ndtr

        x = np.asarray(x, dtype=np.float64)
        below = np.zeros(x.shape)
        for sheet in self.sheets:
            z = ndtr(self._inverse(sheet, x))
            below += z - ndtr(self.z[sheet.start]) if self._rises(sheet) else ndtr(self.z[sheet.stop - 1]) - z
        return below.clip(0, 1)

    def pdf(self, x: NDArray[Any]) -> Numbers:
        """The density; infinite where T stands still."""
        x = np.asarray(x, dtype=np.float64)
        density = np.zeros(x.shape)
        for sheet in self.sheets:
            low, high = np.sort(self.values[[sheet.start, sheet.stop - 1]])
            inside = (x >= low) & (x <= high)
            z = self._inverse(sheet, x[inside])
            with np.errstate(divide="ignore"):
                density[inside] += np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi) / np.abs(self.transport(z, 1))
        return density

    def ppf(self, p: NDArray[Any]) -> Numbers:
        """The p-quantile: T at that of N(0, 1), if T does not fold."""
        from scipy.special import ndtri

        if len(self.sheets) == 1 and self._rises(self.sheets[0]):
            return np.asarray(self.transport(ndtri(np.asarray(p)).clip(self.z[0], self.z[-1])))
        x = np.sort(self.values)
        return np.asarray(np.interp(p, self.cdf(x), x))

    def moments(self) -> tuple[float, float]:
        """Mean and variance."""
        weights = np.exp(-(self.z**2) / 2)
        weights /= weights.sum()
        mean = float(weights @ self.values)
        return mean, float(weights @ (self.values - mean) ** 2)

    def scaled(self, factor: float) -> TransportedLine:
        """The law of factor T."""
        return TransportedLine(self.z, factor * self.values)

    def _rises(self, sheet: slice) -> bool:
        return bool(self.values[sheet.stop - 1] >= self.values[sheet.start])

    def _inverse(self, sheet: slice, x: Numbers) -> Numbers:
        """The z of a sheet where T passes x, by bisection between two knots; its end on that side where T does not."""
        z, rising = self.z[sheet], self._rises(sheet)
        sign = 1 if rising else -1
        values = np.maximum.accumulate(sign * self.values[sheet])
        cell = np.searchsorted(values, sign * x, side="right" if rising else "left") - 1
        low, high = z[cell.clip(0, len(z) - 2)], z[cell.clip(0, len(z) - 2) + 1]
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            before = sign * self.transport(middle) <= sign * x
            low, high = np.where(before, middle, low), np.where(before, high, middle)
        return np.asarray(np.where(cell < 0, z[0], np.where(cell > len(z) - 2, z[-1], low)))


@dataclass(frozen=True)
class OneDimensionalLaw(Law):
    """A law on the line, as of images of one number."""

    transported: TransportedLine
    image_shape: tuple[int, int, int] = (1, 1, 1)

    def mean(self) -> Float64[Tensor, "C H W"]:
        """E x0."""
        return torch.tensor(self.transported.moments()[0], dtype=torch.float64).view(1, 1, 1)

    def covariance(self) -> Float64[Tensor, "D D"]:
        """The variance."""
        return torch.tensor(self.transported.moments()[1], dtype=torch.float64).view(1, 1)

    def along(self, direction: Float64[Tensor, "C H W"]) -> TransportedLine:
        """The law of a multiple of x0."""
        return self.transported.scaled(float(direction))

    def distance_to_support(self, samples: Float[Tensor, "n C H W"]) -> Float64[Tensor, " n"]:
        """How far each number is outside all that T reaches."""
        low, high = self.transported.values.min(), self.transported.values.max()
        numbers = samples.double().flatten()
        return torch.maximum(low - numbers, numbers - high).clamp_min(0)


@law_of.register
def one_dimensional_law(denoiser: Denoiser, drawing: Drawing) -> Law:
    """The law of a denoiser of one number that no other file knows better, for a sampler without fresh noise.

    Raises:
        PatchMosaicError: images of more than one number, or eta > 0.
    """
    if denoiser.image_shape != (1, 1, 1):
        return law_of.dispatch(object)(denoiser, drawing)
    if drawing.eta > 0:
        raise PatchMosaicError("with fresh noise at each step a sample is no function of x_T", got=f"eta = {drawing.eta}")
    z = np.linspace(-REACH, REACH, KNOTS)
    start = (float(drawing.mean) + drawing.std * torch.from_numpy(z)).view(-1, 1, 1, 1).to(denoiser.device)
    x0 = _flow(denoiser, drawing, start) if drawing.continuous else _sampled(denoiser, drawing, start)
    return OneDimensionalLaw(TransportedLine(z, x0.flatten().cpu().numpy()))


def _sampled(denoiser: Denoiser, drawing: Drawing, x_T: Tensor) -> Tensor:
    x_t = x_T
    for step in solve(denoiser, x_T, label=drawing.label, times=drawing.times, solver=drawing.solver):
        x_t = step.x_next
    return x_t


def _flow(denoiser: Denoiser, drawing: Drawing, x_T: Tensor) -> Tensor:
    """The probability flow from the first time to the lowest noise level, where x0_hat is the sample."""
    schedule = denoiser.schedule
    highest = float(schedule.noise_level(drawing.times[0]))
    lowest = max(float(schedule.noise_level(0.0)), LOWEST_LEVEL)
    if not lowest < highest < float("inf"):
        raise NoiseLevelError(
            f"the continuous limit starts at a finite noise level above {lowest:g}",
            got=highest,
            hint="Give times=torch.tensor([0.999]) or so.",
        )

    def drift(log_level: Tensor, y: Tensor) -> Tensor:
        """dy/dln(sigma)."""
        t = schedule.time_of_snr((-2 * log_level).exp())
        return y - denoiser(float(schedule(t)[0]) * y, t, drawing.label)

    levels = torch.linspace(math.log(highest), math.log(lowest), FLOW_STEPS + 1, dtype=torch.float64)
    step, y = levels[1] - levels[0], x_T / float(schedule(drawing.times[0])[0])
    for start in levels[:-1]:  # Runge & Kutta's classical method: not adaptive, because a bound on x0_hat puts a kink into D
        first = drift(start, y)
        second = drift(start + step / 2, y + step / 2 * first)
        third = drift(start + step / 2, y + step / 2 * second)
        fourth = drift(start + step, y + step * third)
        y = y + step / 6 * (first + 2 * second + 2 * third + fourth)
    return y - drift(levels[-1], y)
