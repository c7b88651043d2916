"""The Wiener denoiser: the best linear one, and the Bayes denoiser of a Gaussian with the pool's mean and covariance.

    x0_hat = mu + alpha Sigma (alpha² Sigma + sigma² I)^-1 (x_t - alpha mu)
           = mu + U diag(alpha l / (alpha² l + sigma²)) U' (x_t - alpha mu)

It knows only second moments, so what a machine predicts beyond it is not explained by the spectrum of the data. It is a
strong baseline at 64 x 64 and always reported.

References:
    Wiener 1949; Wang & Vastola 2024, section 3.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float, Float64, Int64, UInt8
from torch import Tensor

from patchmosaic.data.imageset import ImageSet
from patchmosaic.denoisers.base import Denoiser, samples_by_label
from patchmosaic.engine.memory import scanned
from patchmosaic.noise import CosineSchedule, NoiseSchedule

Gaussian = tuple[Float64[Tensor, " D"], Float64[Tensor, "D K"], Float64[Tensor, " K"]]  # mean, axes, variances


class WienerDenoiser(Denoiser):
    """The Gaussian baseline; with a label, the Gaussian of that class. Each class is fitted when it is first asked for.

    Args:
        pool: the images whose mean and covariance (divisor N) are matched.
        schedule: what t means; the paper's cosine by default.
    """

    def __init__(self, pool: ImageSet, *, schedule: NoiseSchedule | None = None) -> None:
        self.pool = pool
        self.schedule = schedule or CosineSchedule()
        self.image_shape = pool.image_shape
        self.classes = pool.classes
        self._fitted: dict[int | None, Gaussian] = {}
        self._device = torch.device("cpu")

    def _denoise(self, x_t: Tensor, t: Tensor, label: Tensor | None) -> Tensor:
        alpha, sigma = (scale[:, None] for scale in self.schedule(t))
        x0_hat = torch.empty_like(x_t)
        for value, samples in samples_by_label(label, len(x_t), x_t.device):
            mean, axes, variances = self._gaussian(value)
            a, s = alpha[samples], sigma[samples]
            coordinates = (x_t[samples].double().flatten(1) - a * mean) @ axes  # (b, K)
            shrunk = coordinates * (a * variances / (a**2 * variances + s**2))
            x0_hat[samples] = (mean + shrunk @ axes.T).view_as(x_t[samples]).to(x_t)
        return x0_hat

    def _gaussian(self, label: int | None) -> Gaussian:
        if label not in self._fitted:
            index = None if label is None else self.pool.of_class(label)
            self._fitted[label] = fit_gaussian(self.pool.stored.flatten(1), index, self._device)
        return self._fitted[label]

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self._device

    def to(self, device: torch.device | str) -> WienerDenoiser:
        """Fit and apply on a device; returns the denoiser itself."""
        self._device = torch.empty(0, device=device).device  # "cuda" becomes "cuda:0"
        self._fitted = {
            label: (mean.to(device), axes.to(device), variances.to(device))
            for label, (mean, axes, variances) in self._fitted.items()
        }
        return self

    def describe(self) -> dict[str, Any]:
        """Class, pool and schedule, as JSON-able data."""
        return {"denoiser": type(self).__name__, "pool": self.pool.content_hash, "schedule": self.schedule.to_json()}


def fit_gaussian(
    vectors: Float[Tensor, "N D"] | UInt8[Tensor, "N D"],
    index: Int64[Tensor, " n"] | None = None,
    device: torch.device | str = "cpu",
) -> Gaussian:
    """Mean, principal axes and variances of vectors (those at `index`), stored as a pool stores images.

    The smaller of the covariance and the Gram matrix is decomposed. Beside it only a block of the vectors is held, or all
    where they are fewer than their dimension.
    """
    count, dimension = len(vectors) if index is None else len(index), vectors.shape[1]

    def blocks() -> Iterator[Float64[Tensor, "n D"]]:
        return (block.to(device) for block in scanned(vectors, index, torch.float64))

    mean = torch.zeros(dimension, dtype=torch.float64, device=device)
    for block in blocks():
        mean += block.sum(0) / count
    if dimension <= count:
        covariance = mean.new_zeros(dimension, dimension)
        for block in blocks():
            centred = block - mean
            covariance.addmm_(centred.T, centred, alpha=1 / count)
        variances, axes = torch.linalg.eigh(covariance)
        return mean, axes, variances.clamp_min(0)
    centred = torch.cat(list(blocks())) - mean
    variances, dual = torch.linalg.eigh(centred @ centred.T / count)
    kept = variances > variances[-1] * 1e-12
    variances, dual = variances[kept], dual[:, kept]
    return mean, centred.T @ dual / (variances * count).sqrt(), variances
