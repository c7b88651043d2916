"""The best linear denoiser that sees a k x k window around each pixel, with weights of each pixel's own.

    x0_hat_i = mu_i + alpha Sigma_iW (alpha² Sigma_WW + sigma²)^-1 (x_t - alpha mu)_W

W is the part of the window around i that lies inside the image. The maps of different noise levels do not commute, and their
product does not have the covariance Sigma, not even inside the windows.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float64, Inexact, Int64
from torch import Tensor

from patchmosaic.data.imageset import ImageSet
from patchmosaic.denoisers.fitted import Scale
from patchmosaic.denoisers.linear.base import Blocks, LinearFilter, WindowLinearDenoiser
from patchmosaic.engine.moments import fit_covariance
from patchmosaic.locality import check_patch_size
from patchmosaic.noise import NoiseSchedule

BLOCK_BYTES = 64 * 2**20  # of windows' covariances at once


@dataclass(frozen=True)
class WindowedFilter(LinearFilter):
    """One dense block: each pixel's row is zero outside its window.

    Attributes:
        covariance: (D, D) of the images.
        image_shape: (C, H, W).
    """

    covariance: Float64[Tensor, "D D"]
    image_shape: tuple[int, int, int]
    patch_size: int

    def analyse(self, vectors: Float64[Tensor, "B D"]) -> Float64[Tensor, "B 1 D"]:
        """The pixels themselves."""
        return vectors[:, None]

    def synthesise(self, coordinates: Inexact[Tensor, "B 1 D"]) -> Float64[Tensor, "B D"]:
        """The pixels themselves."""
        return coordinates[:, 0]

    def gain(self, alpha: Scale, sigma: Scale) -> Blocks:
        """Row i: alpha Sigma_iW (alpha² Sigma_WW + sigma²)^-1."""
        weights = torch.zeros_like(self.covariance)
        centres, windows, inside = (index.to(weights.device) for index in self._windows())
        at_once = max(1, BLOCK_BYTES // (8 * windows.shape[1] ** 2))
        for centre, window, seen in zip(*(index.split(at_once) for index in (centres, windows, inside)), strict=True):
            both = seen[:, :, None] & seen[:, None, :]
            noisy = alpha**2 * self.covariance[window[:, :, None], window[:, None, :]] * both  # (P, taps, taps)
            noisy.diagonal(dim1=1, dim2=2).add_(sigma**2)  # keeps what is outside apart, and invertible
            towards = alpha * self.covariance[centre[:, :, None], window[:, None, :]] * seen[:, None, :]  # (P, C, taps)
            solved = torch.linalg.solve(noisy, towards, left=False)
            weights.index_put_((centre[:, :, None], window[:, None, :]), solved, accumulate=True)  # outside it adds 0
        return weights[None]

    def _windows(self) -> tuple[Int64[Tensor, "P C"], Int64[Tensor, "P taps"], Bool[Tensor, "P taps"]]:
        """Of each position its channels, those of its window, and which of these are inside the image."""
        channels, height, width = self.image_shape
        radius = self.patch_size // 2
        rows, columns = (torch.arange(side)[:, None] + torch.arange(-radius, radius + 1) for side in (height, width))
        inside = ((rows >= 0) & (rows < height))[:, None, :, None] & ((columns >= 0) & (columns < width))[None, :, None, :]
        position = rows.clamp(0, height - 1)[:, None, :, None] * width + columns.clamp(0, width - 1)[None, :, None, :]
        of_channel = torch.arange(channels) * height * width
        windows = (of_channel[:, None] + position.reshape(height * width, 1, -1)).flatten(1)
        centres = torch.arange(height * width)[:, None] + of_channel
        return centres, windows, inside.reshape(height * width, -1).repeat(1, channels)


class LocalLinearDenoiser(WindowLinearDenoiser):
    """The best linear denoiser whose every pixel sees patch_size x patch_size pixels around it, cut off at the border.

    It holds a covariance and, at work, a matrix of D x D numbers.

    Args:
        pool: the images whose mean and covariance are matched.
        patch_size: k, odd.
        schedule: what t means; the paper's cosine by default.

    Raises:
        PatchSizeError: k is even or below 1.
    """

    @classmethod
    def from_moments(
        cls,
        mean: Float64[Tensor, "C H W"],
        covariance: Float64[Tensor, "D D"],
        patch_size: int,
        *,
        schedule: NoiseSchedule | None = None,
    ) -> LocalLinearDenoiser:
        """For anything with these moments."""
        channels, height, width = mean.shape
        fitted = WindowedFilter(mean.flatten(), covariance, (channels, height, width), check_patch_size(patch_size))
        denoiser = cls._of_fitted(fitted, (channels, height, width), schedule)
        denoiser.patch_size = patch_size
        return denoiser

    def _fit(self, pool: ImageSet, index: Int64[Tensor, " n"] | None) -> WindowedFilter:
        mean, covariance = fit_covariance(pool.stored.flatten(1), index, self.device)
        return WindowedFilter(mean, covariance, pool.image_shape, self.patch_size)
