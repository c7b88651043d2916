"""A smoothed denoiser: the mean of what another one says of perturbed inputs.

    x0_hat = 1/M sum_m D(x_t + alpha_t s z_m, t),        z_m ~ N(0, I)

The score is smoothed with the same width, since E z = 0. Smoothing IS makes its samples barycentres of neighbouring training
images: of two points -1 and 1 it makes the solutions of x = 2 Phi(x / s) - 1.

The perturbations are the same in every call and for every sample: antithetic pairs of scrambled Sobol points, which are spread
evenly, so that in few dimensions the error falls like 1/M. Results depend on their number and seed, and on nothing else.

References:
    Scarvelis, Sáez de Ocáriz Borde & Solomon 2023, "Closed-form diffusion models".
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float64
from torch import Tensor

from patchmosaic.denoisers.base import Denoiser, per_sample
from patchmosaic.denoisers.composed import ComposedDenoiser
from patchmosaic.engine.memory import CACHE_BYTES, WIDEST
from patchmosaic.errors import ValueRangeError


class SmoothedDenoiser(ComposedDenoiser):
    """Another denoiser, smoothed.

    Args:
        inner: the denoiser to smooth; IdealDenoiser for the closed form of the paper.
        width: s, the standard deviation of the perturbations in units of the images, from 0 up.
        perturbations: M, even.
        seed: of the perturbations.

    Raises:
        ValueRangeError: a negative width, or a number of perturbations that is not even and positive.
    """

    def __init__(self, inner: Denoiser, width: float, perturbations: int = 64, *, seed: int = 0) -> None:
        super().__init__(inner)
        if not 0 <= width < float("inf"):
            raise ValueRangeError("a width is a number from 0 up", got=width)
        if perturbations < 2 or perturbations % 2:
            raise ValueRangeError("perturbations come in pairs", got=perturbations, hint="Try 64.")
        self.width, self.perturbations, self.seed = width, perturbations, seed

    @cached_property
    def noise(self) -> Float64[Tensor, "M C H W"]:
        """z, each followed somewhere by -z."""
        dimension = math.prod(self.image_shape)
        sobol = torch.quasirandom.SobolEngine(dimension, scramble=True, seed=self.seed)
        uniform = sobol.draw(self.perturbations // 2, dtype=torch.float64).clamp(1e-9, 1 - 1e-9)
        half = torch.special.ndtri(uniform).view(-1, *self.image_shape)
        return torch.cat([half, -half])

    def _denoise(self, x_t: Tensor, t: Tensor, label: Tensor | None) -> Tensor:
        alpha, _ = self.schedule(t)
        total = torch.zeros_like(x_t, dtype=torch.float64)
        at_once = max(1, CACHE_BYTES // (WIDEST * x_t.numel()))
        for some in self.noise.split(at_once):
            seen = x_t.double() + per_sample(alpha * self.width, total) * some.to(x_t.device)[:, None]  # (m, B, C, H, W)
            labels = None if label is None else label.repeat(len(some))
            x0_hats = self.inner._denoise(seen.flatten(0, 1).to(x_t), t.repeat(len(some)), labels)
            total += x0_hats.double().unflatten(0, (len(some), len(x_t))).sum(0)
        return (total / self.perturbations).to(x_t)

    def describe(self) -> dict[str, Any]:
        """Class, inner denoiser, schedule and perturbations, as JSON-able data."""
        how = {"width": self.width, "perturbations": self.perturbations, "seed": self.seed}
        return {**super().describe(), **how}
