"""Laws on the line, and how far samples are from them.

    KS = sup |F_n - F|,        W1 = int |F_n - F| dx

with F and F_n the distribution functions of law and samples. With atoms the supremum is taken on both sides of each sample.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri
from scipy.stats import wasserstein_distance

from patchmosaic.errors import PatchMosaicError

Numbers = NDArray[np.float64]


@runtime_checkable
class LineLaw(Protocol):
    """A distribution of real numbers; the frozen distributions of scipy.stats are such."""

    def cdf(self, x: NDArray[Any]) -> Any:
        """P(X <= x)."""

    def ppf(self, p: NDArray[Any]) -> Any:
        """The quantile function: the least x with P(X <= x) >= p, for p in (0, 1)."""

    def pdf(self, x: NDArray[Any]) -> Any:
        """The density. Raises PatchMosaicError where there is none."""


@dataclass(frozen=True)
class NormalLine:
    """N(mean, std²); a single point where std = 0."""

    mean: float
    std: float

    def cdf(self, x: NDArray[Any]) -> Numbers:
        """P(X <= x)."""
        if self.std == 0:
            return (np.asarray(x) >= self.mean).astype(np.float64)
        return np.asarray(ndtr((np.asarray(x) - self.mean) / self.std))

    def ppf(self, p: NDArray[Any]) -> Numbers:
        """The p-quantile."""
        return np.asarray(self.mean + self.std * ndtri(np.asarray(p)))

    def pdf(self, x: NDArray[Any]) -> Numbers:
        """The density.

        Raises:
            PatchMosaicError: std = 0.
        """
        if self.std == 0:
            raise PatchMosaicError("a single point has no density", got=f"all mass at {self.mean}")
        z = (np.asarray(x) - self.mean) / self.std
        return np.asarray(np.exp(-(z**2) / 2) / (self.std * np.sqrt(2 * np.pi)))


def kolmogorov_smirnov(law: LineLaw, samples: Numbers) -> float:
    """sup |F_n - F|, also where the law or the samples have atoms."""
    values, counts = np.unique(samples, return_counts=True)
    after = np.cumsum(counts) / len(samples)
    before = after - counts / len(samples)
    # Between samples F_n is constant and F rises: the supremum is at a sample, on one of its sides.
    right = np.abs(after - law.cdf(values))
    left = np.abs(before - law.cdf(np.nextafter(values, -np.inf)))
    return float(max(right.max(), left.max()))


def wasserstein(law: LineLaw, samples: Numbers) -> float:
    """W1 between the samples and as many quantiles of the law, those at the middles of equal parts."""
    middles = (np.arange(len(samples)) + 0.5) / len(samples)
    return float(wasserstein_distance(samples, law.ppf(middles)))
