"""What a Wiener denoiser fitted to n images is on average: one that expects more noise than there is.

    E[S (S + sigma²)^-1] = Sigma (Sigma + kappa)^-1,        kappa = sigma² + kappa/n tr Sigma (Sigma + kappa)^-1

for the covariance S of n images of a Gaussian with covariance Sigma (alpha = 1; otherwise alpha² Sigma stands for Sigma), to
leading order in n and D together. The more images, the closer kappa is to sigma².

References:
    Deterministic equivalents of sample covariance matrices: Marchenko & Pastur 1967; Bach 2024, "High-dimensional analysis of
    double descent for linear regression with random projections".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jaxtyping import Float64, Int64
from torch import Tensor

from patchmosaic.data.imageset import ImageSet
from patchmosaic.denoisers.fitted import Scale
from patchmosaic.denoisers.linear.base import Blocks, LinearDenoiser
from patchmosaic.denoisers.linear.wiener import PrincipalFilter
from patchmosaic.engine.moments import fit_gaussian, principal_axes
from patchmosaic.errors import PatchMosaicError
from patchmosaic.noise import NoiseSchedule

NEWTON_STEPS = 100  # never reached: the root is found from above, of a convex function, to the last digit in about ten


@dataclass(frozen=True)
class ShrunkFilter(PrincipalFilter):
    """Each principal axis as if the noise were kappa.

    Attributes:
        count: n.
    """

    count: int

    def gain(self, alpha: Scale, sigma: Scale) -> Blocks:
        """alpha l / (alpha² l + kappa)."""
        visible = alpha**2 * self.powers
        return (alpha * self.powers / (visible + effective_noise(visible, sigma**2, self.count)))[:, None, None]

    def variances(self) -> None:
        """None: kappa is not sigma²."""


class ShrunkWienerDenoiser(LinearDenoiser):
    """The mean of all Wiener denoisers that are fitted to `count` images each.

    Args:
        pool: the images whose mean and covariance stand for the truth.
        count: n.
        schedule: what t means; the paper's cosine by default.

    Raises:
        PatchMosaicError: `count` below 1.
    """

    def __init__(self, pool: ImageSet, count: int, *, schedule: NoiseSchedule | None = None) -> None:
        super().__init__(pool, schedule=schedule)
        self.count = _checked(count)

    @classmethod
    def from_moments(
        cls,
        mean: Float64[Tensor, "C H W"],
        covariance: Float64[Tensor, "D D"],
        count: int,
        *,
        schedule: NoiseSchedule | None = None,
    ) -> ShrunkWienerDenoiser:
        """For a Gaussian of known moments."""
        channels, height, width = mean.shape
        fitted = ShrunkFilter(mean.flatten(), *principal_axes(covariance), _checked(count))
        denoiser = cls._of_fitted(fitted, (channels, height, width), schedule)
        denoiser.count = count
        return denoiser

    def _fit(self, pool: ImageSet, index: Int64[Tensor, " n"] | None) -> ShrunkFilter:
        return ShrunkFilter(*fit_gaussian(pool.stored.flatten(1), index, self.device), self.count)

    def describe(self) -> dict[str, Any]:
        """Class, moments, number of images and schedule, as JSON-able data."""
        return super().describe() | {"count": self.count}


def effective_noise(variances: Float64[Tensor, " K"], noise: float | Float64[Tensor, ""], count: int) -> Float64[Tensor, ""]:
    """kappa, the only positive solution, for noise variance `noise` > 0 and `count` images."""
    kappa = noise + variances.sum() / count
    for _ in range(NEWTON_STEPS):
        shrunk = variances / (variances + kappa)
        excess = kappa - noise - kappa * shrunk.sum() / count
        lower = kappa - excess / (1 - (shrunk**2).sum() / count)
        if not bool(lower < kappa):
            break
        kappa = lower
    return kappa


def _checked(count: int) -> int:
    if count < 1:
        raise PatchMosaicError("a denoiser is fitted to at least one image", got=count)
    return count
