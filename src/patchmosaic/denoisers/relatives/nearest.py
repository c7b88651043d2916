"""The nearest training image, whatever the noise: IS at infinite precision.

    x0_hat = phi_n,    n = argmin_n ‖y - phi_n‖,    y = x_t / alpha_t

A step of DDIM moves y straight towards it, and the cell of an image (the points nearest to it) is convex: y never leaves its
cell, and the sample is the image nearest to x_T / alpha_T, in any number of steps and on any schedule.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from patchmosaic.denoisers.posterior import PosteriorDenoiser, Question
from patchmosaic.engine.memory import Footprint
from patchmosaic.engine.posterior import PosteriorSum
from patchmosaic.engine.whole import whole_image_footprint, whole_image_posterior

SHARPEST = 1e12  # images whose squared distances differ by less than about 1e-10 are averaged


class NearestDenoiser(PosteriorDenoiser):
    """Copies the nearest image of the pool; where nothing is seen, alpha_t = 0, the mean. Arguments: see PosteriorDenoiser."""

    def _footprint(self) -> Footprint:
        return whole_image_footprint(self.image_shape)

    def _posterior(self, asked: Question) -> PosteriorSum:
        sharpest = replace(asked, precision=torch.where(asked.precision > 0, SHARPEST, asked.precision))
        # In float64 always: the smallest differences decide.
        return whole_image_posterior(*self._given(sharpest), torch.float64, self.memory_budget, asked.ranks, empty=asked.empty)
