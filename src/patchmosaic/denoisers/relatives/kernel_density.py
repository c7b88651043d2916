"""The Bayes denoiser of a kernel density estimate: training images, each blurred by N(0, h² I).

    x0_hat = y + L² / (L² + h²) (sum_n w_n phi_n - y) = (h² y + L² sum_n w_n phi_n) / (h² + L²)
    w = softmax_n(-‖y - phi_n‖² / (2 (L² + h²))),       y = x_t / alpha_t,    L = sigma_t / alpha_t

Its samples follow p_n * N(0, h² I): training images with noise on them, the simplest way not to copy. With h = 0 it is IS.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from patchmosaic.data.imageset import ImageSet
from patchmosaic.denoisers.posterior import PosteriorDenoiser, Question
from patchmosaic.engine.memory import DEFAULT_BUDGET, Footprint
from patchmosaic.engine.posterior import PosteriorSum
from patchmosaic.engine.whole import whole_image_footprint, whole_image_posterior
from patchmosaic.errors import ValueRangeError
from patchmosaic.noise import NoiseSchedule


class KernelDensityDenoiser(PosteriorDenoiser):
    """IS of blurred training images.

    Args:
        pool: the training images.
        bandwidth: h, in units of the images, from 0 up.
        schedule, memory_budget: see PosteriorDenoiser.

    Raises:
        ValueRangeError: a bandwidth that is negative or not finite.
    """

    def __init__(
        self,
        pool: ImageSet,
        bandwidth: float,
        *,
        schedule: NoiseSchedule | None = None,
        memory_budget: int = DEFAULT_BUDGET,
    ) -> None:
        super().__init__(pool, schedule=schedule, memory_budget=memory_budget)
        if not 0 <= bandwidth < float("inf"):
            raise ValueRangeError("a bandwidth is a number from 0 up", got=bandwidth)
        self.bandwidth = bandwidth

    def _footprint(self) -> Footprint:
        return whole_image_footprint(self.image_shape)

    def _posterior(self, asked: Question) -> PosteriorSum:
        known = asked.precision * self.bandwidth**2  # h² / L²
        blurred = replace(asked, precision=asked.precision / (1 + known))
        state = whole_image_posterior(*self._given(blurred), asked.dtype, self.memory_budget, asked.ranks, empty=asked.empty)
        # Each candidate stands for all of its blurred images: its value is their mean given y.
        known = known[:, None, None, None]
        return replace(state, v=(state.v + known * asked.queries * state.s[:, None]) / (1 + known))

    def describe(self) -> dict[str, Any]:
        """Class, pool, schedule and bandwidth, as JSON-able data."""
        return {**super().describe(), "bandwidth": self.bandwidth}
