"""A bottleneck of r numbers: a linear encoder, and the decoder that is best for it.

    x0_hat = E[x0 | U'y] = sum_n w_n phi_n,    w = softmax_n(-gamma/2 ‖U'(y - phi_n)‖²),    y = x_t / alpha_t

The code z = U'y follows the probability flow of the law of U'x0 as if nothing else existed, so the samples' codes follow that
law exactly; all else is E[x0 | z], the mean image of a code. What varies at a given code, Cov(x0 | z), is lost.
"""

from __future__ import annotations

import hashlib
import math
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from patchmosaic.data.imageset import ImageSet
from patchmosaic.denoisers.posterior import PosteriorDenoiser, Question
from patchmosaic.engine.memory import DEFAULT_BUDGET, Footprint
from patchmosaic.engine.moments import fit_gaussian
from patchmosaic.engine.posterior import PosteriorSum
from patchmosaic.engine.whole import whole_image_footprint, whole_image_posterior
from patchmosaic.errors import ShapeError
from patchmosaic.noise import NoiseSchedule


class LinearEncoderDenoiser(PosteriorDenoiser):
    """The Bayes denoiser among those that see r linear functions of the image.

    Args:
        pool: the training images.
        encoder: r, for the r principal axes of largest variance of the whole pool; or (D, r), the linear functions themselves,
            of which only the space that they span matters.
        schedule, memory_budget: see PosteriorDenoiser.

    Raises:
        ShapeError: a rank outside 1 to D, or linear functions that are not (D, r) and independent.
    """

    def __init__(
        self,
        pool: ImageSet,
        encoder: int | Float[Tensor, "D r"],
        *,
        schedule: NoiseSchedule | None = None,
        memory_budget: int = DEFAULT_BUDGET,
    ) -> None:
        super().__init__(pool, schedule=schedule, memory_budget=memory_budget)
        dimension = math.prod(pool.image_shape)
        if isinstance(encoder, int):
            if not 1 <= encoder <= dimension:
                raise ShapeError(f"a code of these images has 1 to {dimension} numbers", got=encoder)
        elif encoder.ndim != 2 or len(encoder) != dimension or torch.linalg.matrix_rank(encoder) != encoder.shape[1]:
            raise ShapeError(f"an encoder is ({dimension}, r), its columns independent", got=tuple(encoder.shape))
        self.encoder = encoder

    @cached_property
    def axes(self) -> Float64[Tensor, "D r"]:
        """U, orthonormal columns; fitted when first asked for."""
        if isinstance(self.encoder, Tensor):
            orthonormal: Tensor = torch.linalg.qr(self.encoder.double().cpu()).Q
            return orthonormal
        _, axes, variances = fit_gaussian(self.pool.stored.flatten(1))
        return axes[:, variances.argsort(descending=True)[: self.encoder]]

    def _footprint(self) -> Footprint:
        return whole_image_footprint(self.image_shape)

    def _posterior(self, asked: Question) -> PosteriorSum:
        seen = self.axes.to(self.device)
        return whole_image_posterior(*self._given(asked), asked.dtype, self.memory_budget, asked.ranks, seen, asked.empty)

    def describe(self) -> dict[str, Any]:
        """Class, pool, schedule and encoder, as JSON-able data."""
        encoder = self.encoder if isinstance(self.encoder, int) else hashlib.sha256(repr(self.encoder.tolist()).encode())
        return {**super().describe(), "encoder": encoder if isinstance(encoder, int) else encoder.hexdigest()[:16]}
