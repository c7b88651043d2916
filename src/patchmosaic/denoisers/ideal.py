"""IS, the ideal score machine: each pixel sees the whole image and matches whole training images.

    x0_hat = sum_n w_n phi_n,    w = softmax_n(-‖x_t - alpha_t phi_n‖² / (2 sigma_t²))

It is the exact minimiser of the denoising loss over all functions, and as t -> 0 its samples are training images.

References:
    Kamb & Ganguli 2024, eq. 3.
"""

from __future__ import annotations

from patchmosaic.denoisers.posterior import PosteriorDenoiser, Question
from patchmosaic.engine.memory import Footprint
from patchmosaic.engine.posterior import PosteriorSum
from patchmosaic.engine.whole import whole_image_footprint, whole_image_posterior


class IdealDenoiser(PosteriorDenoiser):
    """The Bayes denoiser of the training set (IS machine). Arguments: see PosteriorDenoiser."""

    def _footprint(self) -> Footprint:
        return whole_image_footprint(self.image_shape)

    def _posterior(self, asked: Question) -> PosteriorSum:
        return whole_image_posterior(*self._given(asked), asked.dtype, self.memory_budget, asked.ranks, empty=asked.empty)
