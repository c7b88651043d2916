"""What all polynomial denoisers share: the best polynomial of degree d in y = x_t / alpha_t, and what keeps it finite.

    D = argmin E|x0 - P(x0 + sigma eps)|²,    sigma = sigma_t / alpha_t,    over polynomials P of degree d, or a class of them

The expectation over the noise is a finite sum, exactly: nothing is drawn. D depends on the target only through its moments of
order up to 2d, so two targets with equal moments generate equal samples, whatever else distinguishes them.

A polynomial grows without bound where it was not fitted, and under a target of heavy tails samples that start far out escape
to infinity. So x0_hat is held inside

    mean ± limit · std,        mean and std over all numbers of all images

which again knows moments only. A number of x0_hat lies on this bound only where it was held back: `escaped` tells from the
x0_hats of a trajectory which samples met it.

References:
    Levine & Weiss 2026 ask what polynomial denoisers generate; the formulas here were derived for this project.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from patchmosaic.data.imageset import ImageSet
from patchmosaic.denoisers.fitted import Fitted, FittedDenoiser, Scale
from patchmosaic.engine.memory import scanned
from patchmosaic.errors import PatchMosaicError, ValueRangeError
from patchmosaic.noise import NoiseSchedule

LIMIT = 20.0


@dataclass(frozen=True)
class FittedPolynomial(Fitted):
    """The best polynomial at all noise levels."""

    @abstractmethod
    def estimate(self, y: Float64[Tensor, "B D"], sigma: float) -> Float64[Tensor, "B D"]:
        """x0_hat of y = x0 + sigma eps, before it is held inside the bound."""

    def denoise(self, vectors: Float64[Tensor, "B D"], alpha: Scale, sigma: Scale) -> Float64[Tensor, "B D"]:
        """x0_hat of noisy vectors, all at one noise level."""
        if alpha == 0:
            return self.mean.expand_as(vectors)
        return self.estimate(vectors / alpha, float(sigma / alpha))


class PolynomialDenoiser(FittedDenoiser):
    """Base of the polynomial denoisers; with a label, the polynomial of that class.

    Args:
        pool: the images whose moments count.
        degree: of the polynomial; 1 is the Wiener denoiser.
        schedule: what t means; the paper's cosine by default.
        limit: how many standard deviations a number of x0_hat may lie from the mean.

    Raises:
        PatchMosaicError: a degree below 1.
        ValueRangeError: a limit that is not positive and finite.
    """

    def __init__(self, pool: ImageSet, degree: int, *, schedule: NoiseSchedule | None = None, limit: float = LIMIT) -> None:
        super().__init__(pool, schedule=schedule)
        self.degree, self.limit = checked(degree, limit)

    @cached_property
    def bound(self) -> tuple[float, float]:
        """The least and the largest number that x0_hat may contain."""
        assert self.pool is not None  # without a pool the bound is given
        moments = torch.zeros(2, dtype=torch.float64)
        for block in scanned(self.pool.stored, None, torch.float64):
            moments += torch.stack([block.sum(), block.square().sum()]) / self.pool.stored.numel()
        return bound_of(float(moments[0]), float(moments[1]), self.limit)

    def _denoise(self, x_t: Tensor, t: Tensor, label: Tensor | None) -> Tensor:
        return super()._denoise(x_t, t, label).clamp(*self._bound_in(x_t.dtype))

    def escaped(self, x0_hats: Float[Tensor, "*steps B C H W"]) -> Bool[Tensor, " B"]:
        """Which samples were held back by the bound, at any of the steps given.

        Args:
            x0_hats: what calls returned: `Trajectory.x0_hats`, or samples alone, which are the x0_hats of the last step.
        """
        low, high = self._bound_in(x0_hats.dtype)
        held = (x0_hats <= low) | (x0_hats >= high)
        return held.flatten(-3).any(-1).view(-1, x0_hats.shape[-4]).any(0)

    def _bound_in(self, dtype: torch.dtype) -> tuple[float, float]:
        """The bound, rounded as tensors of a type hold it."""
        low, high = torch.tensor(self.bound, dtype=dtype).tolist()
        return low, high

    def describe(self) -> dict[str, Any]:
        """Class, target, schedule, degree and limit, as JSON-able data."""
        return {**super().describe(), "degree": self.degree, "limit": self.limit}


def checked(degree: int, limit: float) -> tuple[int, float]:
    """The degree and the limit.

    Raises:
        PatchMosaicError: a degree below 1.
        ValueRangeError: a limit that is not positive and finite.
    """
    if degree < 1:
        raise PatchMosaicError("a polynomial denoiser has a degree of at least 1", got=degree)
    if not 0 < limit < math.inf:
        raise ValueRangeError("limit must be positive and finite", got=limit, hint="In standard deviations; try 20.")
    return degree, limit


def bound_of(mean: float, mean_square: float, limit: float) -> tuple[float, float]:
    """mean ± limit · std, of a target's numbers; some room also for a target that is a single point."""
    reach = limit * math.sqrt(max(mean_square - mean**2, 1e-12))
    return mean - reach, mean + reach
