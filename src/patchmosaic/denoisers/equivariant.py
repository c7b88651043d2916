"""ES, the equivariant machine: each pixel sees the whole torus and matches every training image in every translation.

    x0_hat = sum_(n, d) w_(n, d) T_d phi_n,    w = softmax_(n, d)(-‖x_t - alpha_t T_d phi_n‖² / (2 sigma_t²))

It is the Bayes denoiser of the training set and all its circular translates: global, but blind to absolute position.

References:
    Kamb & Ganguli 2024, section 3.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Int64
from torch import Tensor

from patchmosaic.denoisers.posterior import PosteriorDenoiser, Question
from patchmosaic.engine.memory import Footprint
from patchmosaic.engine.posterior import PosteriorSum
from patchmosaic.engine.translates import translate_footprint, translate_posterior


class EquivariantDenoiser(PosteriorDenoiser):
    """The Bayes denoiser of the translation-augmented training set (ES machine). Arguments: see PosteriorDenoiser."""

    def _footprint(self) -> Footprint:
        return translate_footprint(self.image_shape)

    @property
    def torus(self) -> bool:
        """Always."""
        return True

    def places(self, noise_level: float) -> Int64[Tensor, "H W"]:
        """Every translation."""
        return torch.full(self.image_shape[1:], math.prod(self.image_shape[1:]))

    def _posterior(self, asked: Question) -> PosteriorSum:
        return translate_posterior(*self._given(asked), self.memory_budget, asked.ranks, asked.empty)
