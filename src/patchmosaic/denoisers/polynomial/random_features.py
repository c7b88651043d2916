"""Polynomials in many dimensions: an affine map and a number of random powers, fitted together.

    D(y) = mu + A (y - mu) + sum_j c_j h_j(y),    h_j a Hermite polynomial of r_j · (y - mu) / s + b_j,    r_j, b_j ~ N(0, I)

A polynomial of degree d in D numbers has about D^d / d! monomials, too many for images. Random powers are a sample of their
space, and the fit, exact over the noise (`power_features.py`), is the best polynomial in it. r and b are drawn once from a
seed.

References:
    Levine & Weiss 2026, whose polynomial denoiser consists of 1,024 random powers.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from patchmosaic.data.imageset import ImageSet
from patchmosaic.denoisers.polynomial.base import LIMIT, PolynomialDenoiser
from patchmosaic.denoisers.polynomial.power_features import PowerMoments
from patchmosaic.denoisers.polynomial.windows import Window, WindowedPolynomial, places_of
from patchmosaic.engine.memory import DEFAULT_BUDGET, pool_blocks
from patchmosaic.engine.moments import fit_covariance
from patchmosaic.errors import MemoryBudgetError, PatchMosaicError
from patchmosaic.noise import NoiseSchedule

RIDGE = 1e-10
VECTORS_AT_ONCE = 2**25  # bytes of the vectors and features that are looked at together


class RandomFeatureDenoiser(PolynomialDenoiser):
    """The best affine map and random powers. Beside these arguments, see PolynomialDenoiser.

    Args:
        features: how many powers; degree 1 needs none.
        ridge: added to the variance of each power, as a fraction of it: what keeps powers apart that the pool does not.
        seed: what the powers are drawn from.
        memory_budget: bytes that the moments may take.

    Raises:
        PatchMosaicError: a negative number of features, or a ridge that is not positive.
        MemoryBudgetError: when first called: so many features do not fit.
    """

    def __init__(
        self,
        pool: ImageSet,
        degree: int,
        features: int = 1024,
        *,
        schedule: NoiseSchedule | None = None,
        limit: float = LIMIT,
        ridge: float = RIDGE,
        seed: int = 0,
        memory_budget: int = DEFAULT_BUDGET,
    ) -> None:
        super().__init__(pool, degree, schedule=schedule, limit=limit)
        if features < 0 or not ridge > 0:
            raise PatchMosaicError("features must not be negative, and ridge positive", got=f"{features} and {ridge}")
        self.features, self.ridge, self.seed, self.memory_budget = features, ridge, seed, memory_budget

    def _window_size(self, sigma: float) -> int:
        """How much is seen at a noise level; here, everything."""
        return max(self.image_shape[1:])

    def _fit(self, pool: ImageSet, index: Int64[Tensor, " n"] | None) -> WindowedPolynomial:
        mean, covariance = fit_covariance(pool.stored.flatten(1), index, self.device)
        whole = max(self.image_shape[1:])
        fitted = cache(lambda size: self._fit_window(pool, index, mean, covariance, size))
        return WindowedPolynomial(mean, covariance, lambda sigma: fitted(min(self._window_size(sigma), whole)), self.ridge)

    def _fit_window(self, pool: ImageSet, index: Tensor | None, mean: Tensor, covariance: Tensor, size: int) -> Window:
        numbers, place, position = (part.to(mean.device) for part in places_of(self.image_shape, size))
        count, seen = numbers.shape
        features = 0 if self.degree == 1 else self.features
        needed = mean.itemsize * count * features * (self.degree * features + seen)
        if needed > self.memory_budget:
            raise MemoryBudgetError(
                f"the moments of {features} features of {size}x{size} windows at {count} places do not fit the memory budget",
                got=f"{self.memory_budget:,} bytes",
                hint=f"Take fewer features, or give memory_budget at least {needed:,} bytes.",
            )
        drawn = torch.Generator().manual_seed(self.seed)
        directions, offsets = (
            torch.randn(shape, generator=drawn, dtype=torch.float64).to(mean) for shape in ((features, seen), (features,))
        )

        def blocks() -> Iterator[Float64[Tensor, "S n q"]]:
            at_once = max(1, VECTORS_AT_ONCE // (mean.itemsize * count * (seen + 4 * features)))
            for images in pool_blocks(pool.stored.flatten(1), index, at_once, torch.float64):
                yield (images.to(mean) - mean)[:, numbers].transpose(0, 1)

        variances = covariance.diagonal()[numbers].sum(1)
        moments = PowerMoments.fit(blocks(), variances, self.degree, directions, offsets)
        return Window(numbers, place, position, moments)

    def to(self, device: torch.device | str) -> RandomFeatureDenoiser:
        """Fit and apply on a device; returns the denoiser itself."""
        super().to(device)
        self._fits.clear()  # they hold more than tensors, and are fitted again there
        return self

    def describe(self) -> dict[str, Any]:
        """Class, pool, schedule and settings, as JSON-able data."""
        return super().describe() | {"features": self.features, "ridge": self.ridge, "seed": self.seed}
