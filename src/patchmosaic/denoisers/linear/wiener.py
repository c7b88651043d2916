"""The Wiener denoiser: the best linear one, and the Bayes denoiser of a Gaussian with the pool's mean and covariance.

    x0_hat = mu + alpha Sigma (alpha² Sigma + sigma² I)^-1 (x_t - alpha mu)
           = mu + U diag(alpha l / (alpha² l + sigma²)) U' (x_t - alpha mu)

It knows only second moments, so what a machine predicts beyond it is not explained by the spectrum of the data. It is a
strong baseline at 64 x 64 and always reported. Of all linear denoisers of rank r the best is at every noise level the same sum
over the r axes of largest variance: reduced-rank regression is PCA.

References:
    Wiener 1949; Wang & Vastola 2024, section 3; Levine & Weiss 2026 for rank r.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Float64, Inexact, Int64
from torch import Tensor

from patchmosaic.data.imageset import ImageSet
from patchmosaic.denoisers.base import samples_by_label
from patchmosaic.denoisers.fitted import Scale
from patchmosaic.denoisers.linear.base import Blocks, LinearDenoiser, LinearFilter
from patchmosaic.engine.moments import fit_gaussian, principal_axes
from patchmosaic.errors import ValueRangeError
from patchmosaic.noise import NoiseSchedule


@dataclass(frozen=True)
class PrincipalFilter(LinearFilter):
    """Each principal axis on its own. What is orthogonal to all axes has no variance: its x0_hat is the mean.

    Attributes:
        axes: (D, K), orthonormal columns.
        powers: (K,) variances along them.
    """

    axes: Float64[Tensor, "D K"]
    powers: Float64[Tensor, " K"]

    def analyse(self, vectors: Float64[Tensor, "B D"]) -> Float64[Tensor, "B K 1"]:
        """Principal coordinates."""
        return (vectors @ self.axes)[..., None]

    def synthesise(self, coordinates: Inexact[Tensor, "B K 1"]) -> Float64[Tensor, "B D"]:
        """The vectors that have these principal coordinates."""
        return coordinates[..., 0] @ self.axes.T

    def gain(self, alpha: Scale, sigma: Scale) -> Blocks:
        """alpha l / (alpha² l + sigma²)."""
        return (alpha * self.powers / (alpha**2 * self.powers + sigma**2))[:, None, None]

    def variances(self) -> Blocks | None:
        """l."""
        return self.powers[:, None, None]

    def of_rank(self, rank: int | None) -> PrincipalFilter:
        """The `rank` axes of largest variance."""
        if rank is None:
            return self
        largest = self.powers.argsort(descending=True)[:rank]
        return PrincipalFilter(self.mean, self.axes[:, largest], self.powers[largest])


class WienerDenoiser(LinearDenoiser):
    """The Gaussian baseline; with a label, the Gaussian of that class. Each class is fitted when it is first asked for.

    Args:
        pool: the images whose mean and covariance (divisor N) are matched.
        rank: how many principal axes to keep; all by default.
        schedule: what t means; the paper's cosine by default.

    Raises:
        ValueRangeError: a negative rank.
    """

    def __init__(self, pool: ImageSet, *, rank: int | None = None, schedule: NoiseSchedule | None = None) -> None:
        super().__init__(pool, schedule=schedule)
        self.rank = _checked_rank(rank)

    @classmethod
    def from_moments(
        cls,
        mean: Float64[Tensor, "C H W"],
        covariance: Float64[Tensor, "D D"],
        *,
        rank: int | None = None,
        schedule: NoiseSchedule | None = None,
    ) -> WienerDenoiser:
        """The denoiser of a Gaussian, or of anything else with these moments."""
        channels, height, width = mean.shape
        fitted = PrincipalFilter(mean.flatten(), *principal_axes(covariance)).of_rank(_checked_rank(rank))
        denoiser = cls._of_fitted(fitted, (channels, height, width), schedule)
        denoiser.rank = rank
        return denoiser

    def fitted(self, label: int | None = None) -> PrincipalFilter:
        """The principal axes of a class, or of all images."""
        fitted = super().fitted(label)
        assert isinstance(fitted, PrincipalFilter)
        return fitted

    def _fit(self, pool: ImageSet, index: Int64[Tensor, " n"] | None) -> PrincipalFilter:
        return PrincipalFilter(*fit_gaussian(pool.stored.flatten(1), index, self.device)).of_rank(self.rank)

    def flow(
        self, x_t: Float[Tensor, "B C H W"], t: float, s: float, label: int | Tensor | None = None
    ) -> Float[Tensor, "B C H W"]:
        """x_s from x_t by the exact probability flow of the Gaussian.

            x_s = alpha_s mu + sum_k sqrt((alpha_s² l_k + sigma_s²) / (alpha_t² l_k + sigma_t²)) u_k u_k' (x_t - alpha_t mu)

        Args:
            x_t: noisy images at time t.
            t, s: from which time to which, up or down.
            label: the class of each.

        Raises:
            PatchMosaicError: as for the call.
        """
        x_t, _, labels = self._checked(x_t, t, label)
        (alpha_t, sigma_t), (alpha_s, sigma_s) = self.schedule(t), self.schedule(s)
        x_s = torch.empty_like(x_t)
        for value, samples in samples_by_label(labels, len(x_t), x_t.device):
            fitted = self.fitted(value)
            residual = x_t[samples].double().flatten(1) - alpha_t * fitted.mean
            coordinates = fitted.analyse(residual)
            ratio = ((alpha_s**2 * fitted.powers + sigma_s**2) / (alpha_t**2 * fitted.powers + sigma_t**2)).sqrt()
            outside = residual - fitted.synthesise(coordinates)
            moved = fitted.synthesise(ratio[:, None] * coordinates) + sigma_s / sigma_t * outside
            x_s[samples] = (alpha_s * fitted.mean + moved).view_as(x_t[samples]).to(x_t)
        return x_s

    def describe(self) -> dict[str, Any]:
        """Class, moments, rank and schedule, as JSON-able data."""
        return super().describe() | ({} if self.rank is None else {"rank": self.rank})


def _checked_rank(rank: int | None) -> int | None:
    if rank is not None and rank < 0:
        raise ValueRangeError("a rank is a whole number from 0 up", got=rank)
    return rank
