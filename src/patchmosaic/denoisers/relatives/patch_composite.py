"""PSPC, the patch posterior composite: overlapping patches are denoised one by one, and averaged where they overlap.

    x0_hat(p) = mean over the patches C that contain p of E[x0(p) | y_C],
    E[x0 | y_C] = sum_n w_n(C) phi_n,    w(C) = softmax_n(-gamma/2 sum_{q in C} |y - phi_n|²(q)),    y = x_t / alpha_t

C runs over all P x P patches inside the image. A patch that covers the image is IS; with P = 1 it is LS with P = 1. LS keeps
only the centre of each patch; here all of it counts.

References:
    Niedoba et al. 2024, "Towards a mechanistic explanation of diffusion model generalization" (PSPC-Square).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from patchmosaic.data.imageset import ImageSet
from patchmosaic.denoisers.posterior import PosteriorDenoiser, Question
from patchmosaic.engine.memory import DEFAULT_BUDGET, Footprint
from patchmosaic.engine.posterior import PosteriorSum
from patchmosaic.engine.windows import patches, window_footprint, window_posterior
from patchmosaic.locality import LocalityScale, check_patch_size
from patchmosaic.noise import NoiseSchedule


class PatchCompositeDenoiser(PosteriorDenoiser):
    """Patches at their own place in other images, averaged where they overlap (PSPC).

    Args:
        pool: the training images.
        patch_size: P, odd, or a LocalityScale that gives P for each noise level; cut to the sides of the image.
        schedule, memory_budget: see PosteriorDenoiser.

    Raises:
        PatchSizeError: P is even or not positive.
    """

    def __init__(
        self,
        pool: ImageSet,
        patch_size: int | LocalityScale,
        *,
        schedule: NoiseSchedule | None = None,
        memory_budget: int = DEFAULT_BUDGET,
    ) -> None:
        super().__init__(pool, schedule=schedule, memory_budget=memory_budget)
        self.patch_size = patch_size if isinstance(patch_size, LocalityScale) else check_patch_size(patch_size)

    def _denoise(self, x_t: Tensor, t: Tensor, label: Tensor | None) -> Tensor:
        # Posteriors of patches of different sizes have different shapes: one size at a time.
        x0_hat = torch.empty_like(x_t)
        sizes = torch.tensor([self._size(level) for level in self.schedule.noise_level(t).tolist()], device=x_t.device)
        for size in sizes.unique(dim=0):
            here = (sizes == size).all(1).nonzero()[:, 0]
            x0_hat[here] = super()._denoise(x_t[here], t[here], None if label is None else label[here])
        return x0_hat

    def _size(self, level: float) -> tuple[int, int]:
        """Rows and columns of a patch at a noise level."""
        return self._cut(self.patch_size if isinstance(self.patch_size, int) else self.patch_size(level))

    def _cut(self, patch_size: int) -> tuple[int, int]:
        _, height, width = self.image_shape
        return min(patch_size, height), min(patch_size, width)

    def _footprint(self) -> Footprint:
        sizes = (self.patch_size,) if isinstance(self.patch_size, int) else self.patch_size.patch_sizes
        needs = [window_footprint(self.image_shape, self._cut(size)) for size in sizes]
        return Footprint(max(n.pair for n in needs), max(n.query for n in needs), max(n.image for n in needs))

    def _posterior(self, asked: Question) -> PosteriorSum:
        size = self._size(float(asked.levels[0]))  # that of all: see `_denoise`
        windows = patches(size, *self.image_shape[1:]).to(self.device)
        return window_posterior(*self._given(asked), windows, size, asked.dtype, self.memory_budget, asked.ranks, asked.empty)

    def _image(self, mean: Tensor) -> Tensor:
        """The average of overlapping patches."""
        _, height, width = self.image_shape
        size = (height - mean.shape[2] + 1, width - mean.shape[3] + 1)
        total = functional.fold(mean.flatten(2), (height, width), size)
        overlap = functional.fold(torch.ones_like(mean[:1]).flatten(2), (height, width), size)
        return total / overlap

    def describe(self) -> dict[str, Any]:
        """Class, pool, schedule and patch size, as JSON-able data."""
        size = self.patch_size.to_json() if isinstance(self.patch_size, LocalityScale) else self.patch_size
        return {**super().describe(), "patch_size": size}
