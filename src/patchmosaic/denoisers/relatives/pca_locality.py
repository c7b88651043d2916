"""PCA locality: what a pixel sees is what the best linear denoiser would look at, given the correlations of the data.

    A = U diag(gamma l / (1 + gamma l)) U',      covariance U diag(l) U', gamma = (alpha_t / sigma_t)²
    M_p(q) = 1 where |A_pq / A_pp| >= tau max |A_rs / A_rr|, else 0
    x0_hat(p) = sum_n w_n(p) phi_n(p),    w(p) = softmax_n(-gamma/2 sum_q M_p(q) (y - phi_n)²(q)),    y = x_t / alpha_t

p and q run over pixels and channels alike: a channel of a pixel has its own window. The windows depend on the pool and on the
noise level only, and shrink as the noise does. They belong to the machine, not to a class: labels restrict the images, not the
covariance.

References:
    Lukoianov, Yuan, Solomon & Sitzmann 2025, "Locality in image diffusion models emerges from data statistics". Their code
    normalises the softmax within each batch of training images; here it runs over the whole pool.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor

from patchmosaic.data.imageset import ImageSet
from patchmosaic.denoisers.posterior import PosteriorDenoiser, Question
from patchmosaic.engine.memory import DEFAULT_BUDGET, Footprint
from patchmosaic.engine.moments import Gaussian, fit_gaussian
from patchmosaic.engine.posterior import PosteriorSum
from patchmosaic.engine.windows import window_footprint, window_posterior
from patchmosaic.errors import ValueRangeError
from patchmosaic.noise import NoiseSchedule

AT_ONCE = 512  # rows of A
NOTHING = 1e-12  # A_pp, as a part of the largest, below which a pixel has no variance: it sees itself only


class PCALocalityDenoiser(PosteriorDenoiser):
    """LS in which the data decide what each pixel sees.

    Args:
        pool: the training images.
        threshold: tau; published values are .05 for CIFAR-10, .005 for MNIST and Fashion-MNIST, .02 for faces.
        schedule, memory_budget: see PosteriorDenoiser.

    Raises:
        ValueRangeError: a threshold outside (0, 1].
    """

    def __init__(
        self,
        pool: ImageSet,
        threshold: float = 0.02,
        *,
        schedule: NoiseSchedule | None = None,
        memory_budget: int = DEFAULT_BUDGET,
    ) -> None:
        super().__init__(pool, schedule=schedule, memory_budget=memory_budget)
        if not 0 < threshold <= 1:
            raise ValueRangeError("a threshold lies in (0, 1]", got=threshold, hint="Try 0.02.")
        self.threshold = threshold
        self._images = self._images.flatten(1, 2)[:, None]  # (N, 1, C H, W): one channel, as far as the engine can tell
        self._last: tuple[float, Tensor] | None = None  # the windows asked for last, by precision: one step asks many times

    @cached_property
    def _gaussian(self) -> Gaussian:
        return fit_gaussian(self.pool.stored.flatten(1))

    def windows(self, precision: float) -> Bool[Tensor, "D D"]:
        """M at gamma = `precision`: row p is what p sees, in the order of flattened images."""
        if self._last is None or self._last[0] != precision:
            largest = max(float(ratios.amax()) for ratios in self._ratios(precision))
            seen = torch.cat([ratios >= self.threshold * largest for ratios in self._ratios(precision)])
            self._last = precision, seen.fill_diagonal_(True)
        return self._last[1]

    def _ratios(self, precision: float) -> Iterator[Tensor]:
        """|A_pq / A_pp|, some rows p at a time."""
        _, axes, variances = self._gaussian
        gain = precision * variances / (1 + precision * variances)
        own = axes.square() @ gain
        own = torch.where(own > NOTHING * own.max(), own, torch.inf)
        for rows in torch.arange(len(axes)).split(AT_ONCE):
            yield ((axes[rows] * gain) @ axes.T).abs_().div_(own[rows, None])

    def _footprint(self) -> Footprint:
        channels, height, width = self.image_shape
        return window_footprint((1, channels * height, width))

    def _posterior(self, asked: Question) -> PosteriorSum:
        asked = replace(asked, queries=asked.queries.flatten(1, 2)[:, None])  # (B, 1, C H, W)
        whole = asked.empty(len(asked.queries), asked.queries.shape[1:], True, self.device)
        for gamma in asked.precision.unique():
            here = (asked.precision == gamma).nonzero()[:, 0]
            windows = self.windows(float(gamma)).to(self.device)
            whole[here] = window_posterior(
                *self._given(asked[here]), windows, (1, 1), asked.dtype, self.memory_budget, asked.ranks, asked.empty
            )
        return whole

    def _image(self, mean: Tensor) -> Tensor:
        return mean.view(len(mean), *self.image_shape)

    def describe(self) -> dict[str, Any]:
        """Class, pool, schedule and threshold, as JSON-able data."""
        return {**super().describe(), "threshold": self.threshold}
