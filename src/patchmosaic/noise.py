"""Noise schedules: t -> (alpha_t, sigma_t).

    x_t = alpha_t x0 + sigma_t eps,    eps ~ N(0, I),    t in [0, 1]

alpha_t and sigma_t are *scales*; what the papers' code calls alpha is alpha_bar = alpha_t². Two derived quantities name
a point of any schedule without reference to its clock:

    snr = alpha_t² / sigma_t²            (decreasing in t; the inverse is `time_of_snr`)
    noise_level = sigma_t / alpha_t      (increasing in t; the "sigma" of variance-exploding papers)

Everything here is computed in float64: 1 - alpha_bar near t = 0 is lost in float32.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Float64
from torch import Tensor

from patchmosaic.errors import NoiseLevelError, PatchMosaicError

Scales = tuple[Float64[Tensor, "..."], Float64[Tensor, "..."]]


@dataclass(frozen=True)
class NoiseSchedule(ABC):
    """A schedule is two functions, alpha and sigma of t in [0, 1], and the inverse of their signal-to-noise ratio."""

    @abstractmethod
    def _scales(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """(alpha_t, sigma_t) of float64 times."""

    @abstractmethod
    def _time(self, level: Tensor) -> Tensor:
        """The time at which sigma_t / alpha_t equals `level` (float64, may be 0 or inf)."""

    def __call__(self, t: float | Tensor) -> Scales:
        """alpha_t and sigma_t, float64, shaped like `t`.

        Raises:
            NoiseLevelError: a time lies outside [0, 1].
        """
        time = as_times(t)
        if not bool(((time >= 0) & (time <= 1)).all()):
            raise NoiseLevelError("times must lie in [0, 1]", got=t, hint="t = 0 is clean data, t = 1 is noise.")
        return self._scales(time)

    def noise_level(self, t: float | Tensor) -> Float64[Tensor, ...]:
        """sigma_t / alpha_t; infinite where alpha_t = 0."""
        alpha, sigma = self(t)
        return sigma / alpha

    def snr(self, t: float | Tensor) -> Float64[Tensor, ...]:
        """alpha_t² / sigma_t²; infinite where sigma_t = 0."""
        alpha, sigma = self(t)
        return (alpha / sigma) ** 2

    def time_of_snr(self, snr: float | Tensor) -> Float64[Tensor, ...]:
        """The inverse of `snr`: the t in [0, 1] whose signal-to-noise ratio is given, clamped to the schedule's ends."""
        ratio = as_times(snr)
        if not bool((ratio >= 0).all()):
            raise NoiseLevelError("a signal-to-noise ratio is at least 0", got=snr)
        return self._time(ratio.rsqrt()).clamp(0.0, 1.0)

    def prior_std(self) -> float:
        """Standard deviation of x_T for data of unit variance: multiply N(0, I) seeds by it. 1 but for VE schedules."""
        alpha, sigma = self(1.0)
        return math.hypot(alpha.item(), sigma.item())

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary from which `schedule_from_json` rebuilds this schedule."""
        return {"schedule": type(self).__name__, **asdict(self)}


@dataclass(frozen=True)
class CosineSchedule(NoiseSchedule):
    """The paper's cosine, without offset: 1 - alpha_bar(t) = sin²(pi t / period). Kamb & Ganguli 2024, public code."""

    period: float = 2.016

    def _scales(self, t: Tensor) -> tuple[Tensor, Tensor]:
        angle = math.pi * t / self.period
        return angle.cos(), angle.sin()

    def _time(self, level: Tensor) -> Tensor:
        return level.atan() * self.period / math.pi


@dataclass(frozen=True)
class OffsetCosineSchedule(NoiseSchedule):
    """Cosine with offset s: alpha_bar(t) = f(t) / f(0), f(t) = cos²(pi/2 (t + s) / (1 + s)). Nichol & Dhariwal 2021, eq. 17.

    The continuous form of diffusers' `squaredcos_cap_v2`, without its cap of each beta at 0.999 (which only moves t > 0.999).
    """

    offset: float = 0.008

    def _scales(self, t: Tensor) -> tuple[Tensor, Tensor]:
        start = math.cos(0.5 * math.pi * self.offset / (1 + self.offset))
        # At t = 1 the cosine is 0, but for the rounding of pi; the clamp keeps alpha from a meaningless 6e-17.
        cosine = torch.cos(0.5 * math.pi * (t + self.offset) / (1 + self.offset)) / start
        alpha = torch.where(t >= 1, torch.zeros_like(t), cosine)
        # 1 - cos²(b)/cos²(a) = sin(b - a) sin(b + a) / cos²(a): no cancellation as t -> 0.
        a = 0.5 * math.pi * self.offset / (1 + self.offset)
        b = 0.5 * math.pi * (t + self.offset) / (1 + self.offset)
        return alpha, ((b - a).sin() * (b + a).sin()).clamp_min(0).sqrt() / start

    def _time(self, level: Tensor) -> Tensor:
        a = 0.5 * math.pi * self.offset / (1 + self.offset)
        alpha = (1 + level**2).rsqrt()
        b = torch.acos((alpha * math.cos(a)).clamp(0, 1))
        # Near t = 0 acos loses half the digits; there sin²(b) = sin²(a) + sigma² cos²(a) keeps them.
        sigma_squared = (level**2 / (1 + level**2)).nan_to_num(nan=1.0)
        small = torch.asin((math.sin(a) ** 2 + sigma_squared * math.cos(a) ** 2).clamp(0, 1).sqrt())
        b = torch.where(level < 1, small, b)
        return b * 2 * (1 + self.offset) / math.pi - self.offset


@dataclass(frozen=True)
class LinearBetaSchedule(NoiseSchedule):
    """Variance-preserving SDE with beta(t) = beta_min + t (beta_max - beta_min). Song et al. 2021, eq. 33.

    With the defaults, the continuous form of DDPM's 1,000 betas from 1e-4 to 0.02.
    """

    beta_min: float = 0.1
    beta_max: float = 20.0

    def _scales(self, t: Tensor) -> tuple[Tensor, Tensor]:
        integral = self.beta_min * t + 0.5 * (self.beta_max - self.beta_min) * t**2
        return torch.exp(-0.5 * integral), torch.sqrt(-torch.expm1(-integral))

    def _time(self, level: Tensor) -> Tensor:
        integral = torch.log1p(level**2)
        slope = self.beta_max - self.beta_min
        # The root of the quadratic in the form that does not cancel for small integrals.
        root = 2 * integral / (self.beta_min + torch.sqrt(self.beta_min**2 + 2 * slope * integral))
        return root.nan_to_num(nan=math.inf, posinf=math.inf)


@dataclass(frozen=True)
class EDMSchedule(NoiseSchedule):
    """Variance exploding, alpha = 1: sigma_t^(1/rho) goes linearly from sigma_min to sigma_max. Karras et al. 2022, eq. 5."""

    sigma_min: float = 0.002
    sigma_max: float = 80.0
    rho: float = 7.0

    def _scales(self, t: Tensor) -> tuple[Tensor, Tensor]:
        low, high = self.sigma_min ** (1 / self.rho), self.sigma_max ** (1 / self.rho)
        return torch.ones_like(t), (low + t * (high - low)) ** self.rho

    def _time(self, level: Tensor) -> Tensor:
        low, high = self.sigma_min ** (1 / self.rho), self.sigma_max ** (1 / self.rho)
        time: Tensor = (level ** (1 / self.rho) - low) / (high - low)
        return time


@dataclass(frozen=True)
class FlowMatchingSchedule(NoiseSchedule):
    """Rectified flow: x_t = (1 - t) x0 + t eps. Liu et al. 2022, eq. 1; Lipman et al. 2023."""

    def _scales(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return 1 - t, t.clone()

    def _time(self, level: Tensor) -> Tensor:
        return (level / (1 + level)).nan_to_num(nan=1.0)


@dataclass(frozen=True)
class TabulatedSchedule(NoiseSchedule):
    """The variance-preserving schedule of a network that was trained at T discrete noise levels, made continuous.

        alpha_t = cos phi(t),  sigma_t = sin phi(t),    phi linear between the nodes k / T,  cos² phi(k / T) = alpha_bar_k

    Interpolating the angle keeps alpha² + sigma² = 1 everywhere, and needs no care where the table ends in pure noise
    (alpha_bar = 0). Before the first node lies clean data, phi(0) = 0.

    Args:
        alpha_bar: the products of 1 - beta at t = 1/T, 2/T, ..., 1; strictly decreasing in [0, 1). Discrete timestep i of DDPM
            (Ho et al. 2020, eq. 4, counted from 0) is t = (i + 1) / T.

    Raises:
        NoiseLevelError: an empty table, or numbers that do not decrease or leave [0, 1).
    """

    alpha_bar: Sequence[float]

    def __post_init__(self) -> None:
        table = tuple(float(value) for value in self.alpha_bar)
        object.__setattr__(self, "alpha_bar", table)
        # Written so that NaN is refused too.
        if not table or not table[-1] >= 0 or not all(low < high for high, low in pairwise((1.0, *table))):
            raise NoiseLevelError(
                "alpha_bar must decrease strictly, from below 1 to at least 0", got=f"{len(table)} values: {str(table)[:60]}"
            )

    @cached_property
    def _angles(self) -> Float64[Tensor, " nodes"]:
        alpha_bar = torch.tensor((1.0, *self.alpha_bar), dtype=torch.float64)
        return torch.atan2((1 - alpha_bar).sqrt(), alpha_bar.sqrt())

    def _scales(self, t: Tensor) -> tuple[Tensor, Tensor]:
        angles, intervals = self._angles.to(t.device), len(self.alpha_bar)
        node = (t * intervals).long().clamp(0, intervals - 1)
        angle = torch.lerp(angles[node], angles[node + 1], t * intervals - node)
        # The cosine of pi/2 is 6e-17, but for rounding 0.
        return torch.where(angle >= math.pi / 2, torch.zeros_like(t), angle.cos()), angle.sin()

    def _time(self, level: Tensor) -> Tensor:
        angles, intervals = self._angles.to(level.device), len(self.alpha_bar)
        angle = level.atan()
        node = (torch.searchsorted(angles, angle.contiguous(), right=True) - 1).clamp(0, intervals - 1)
        time: Tensor = (node + (angle - angles[node]) / (angles[node + 1] - angles[node])) / intervals
        return time

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary, with the table as a list: what is read back from a file is equal to it."""
        return {"schedule": type(self).__name__, "alpha_bar": list(self.alpha_bar)}


def as_times(t: float | Tensor) -> Float64[Tensor, ...]:
    """Times or ratios in float64. A Python number goes there directly: by way of float32 it would be another time."""
    return t.double() if isinstance(t, Tensor) else torch.tensor(t, dtype=torch.float64)


SCHEDULES: dict[str, type[NoiseSchedule]] = {
    kind.__name__: kind
    for kind in (
        CosineSchedule,
        OffsetCosineSchedule,
        LinearBetaSchedule,
        EDMSchedule,
        FlowMatchingSchedule,
        TabulatedSchedule,
    )
}


def schedule_from_json(record: dict[str, Any]) -> NoiseSchedule:
    """Rebuild the schedule that `NoiseSchedule.to_json` described.

    Raises:
        PatchMosaicError: the record names no schedule of this version, or has other parameters.
    """
    parameters = {key: value for key, value in record.items() if key != "schedule"}
    try:
        return SCHEDULES[record["schedule"]](**parameters)
    except (KeyError, TypeError) as error:
        raise PatchMosaicError(
            "not the description of a noise schedule", got=record, hint=f"Known: {', '.join(SCHEDULES)}."
        ) from error
