"""Laws on the line of finitely many points, blurred or not: F(x) = sum_k w_k Phi((x - v_k) / std)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchmosaic.errors import PatchMosaicError
from patchmosaic.laws.line import Numbers

HALVINGS = 60  # of a bisection: to the rounding of float64


@dataclass(frozen=True)
class MixtureLine:
    """sum_k w_k N(v_k, std²); points where std = 0."""

    values: Numbers
    weights: Numbers
    std: float

    def cdf(self, x: NDArray[Any]) -> Numbers:
        """P(X <= x)."""
        from scipy.special import ndtr

        x = np.asarray(x, dtype=np.float64)
        if self.std == 0:
            points, reached = self._steps()
            return np.asarray(np.concatenate([[0.0], reached])[np.searchsorted(points, x, side="right")])
        total: Numbers = np.zeros_like(x)
        for value, weight in zip(self.values, self.weights, strict=True):
            total += weight * ndtr((x - value) / self.std)
        return total

    def ppf(self, p: NDArray[Any]) -> Numbers:
        """The p-quantile: a point of the mixture, or by bisection."""
        p = np.asarray(p, dtype=np.float64)
        if self.std == 0:
            points, reached = self._steps()
            return np.asarray(points[np.searchsorted(reached, p).clip(max=len(points) - 1)])
        low = np.full(p.shape, self.values.min() - 40 * self.std)
        high = np.full(p.shape, self.values.max() + 40 * self.std)
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            below = self.cdf(middle) < p
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        return high

    def pdf(self, x: NDArray[Any]) -> Numbers:
        """The density.

        Raises:
            PatchMosaicError: std = 0.
        """
        if self.std == 0:
            raise PatchMosaicError("points have no density", got=f"{len(self.values)} of them")
        x = np.asarray(x, dtype=np.float64)
        density: Numbers = np.zeros_like(x)
        for value, weight in zip(self.values, self.weights, strict=True):
            density += weight * np.exp(-(((x - value) / self.std) ** 2) / 2)
        return np.asarray(density / (self.std * math.sqrt(2 * math.pi)))

    def _steps(self) -> tuple[Numbers, Numbers]:
        """The points in order, and the probability up to and with each."""
        order = self.values.argsort()
        return self.values[order], self.weights[order].cumsum()
