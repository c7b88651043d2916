"""What all posterior-mean denoisers share: a pool, and a softmax over candidates taken from it.

    x0_hat = sum_j w_j v_j,    w = softmax_j(-‖x_t - alpha_t phi_j‖² / (2 sigma_t²))
                                 = softmax_j(-gamma/2 ‖y - phi_j‖²),    y = x_t / alpha_t,  gamma = (alpha_t / sigma_t)²

A machine says which candidates there are; samples with the same label share a pool and are done together.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import Any, TypeVar

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from patchmosaic.data.imageset import ImageSet
from patchmosaic.denoisers.base import Denoiser, samples_by_label
from patchmosaic.engine.memory import DEFAULT_BUDGET, Footprint
from patchmosaic.engine.posterior import PosteriorSum
from patchmosaic.noise import CosineSchedule, NoiseSchedule

SomePosterior = TypeVar("SomePosterior", bound="PosteriorDenoiser")


class PosteriorDenoiser(Denoiser):
    """Base of the machines that average training images, or pieces of them, by posterior weight.

    Args:
        pool: the training images. With labels, calls may be conditioned: `d(x_t, t, label)`.
        schedule: what t means; the paper's cosine by default.
        memory_budget: bytes that one call may allocate beside its input and output.
    """

    def __init__(self, pool: ImageSet, *, schedule: NoiseSchedule | None = None, memory_budget: int = DEFAULT_BUDGET) -> None:
        self.pool = pool
        self.schedule = schedule or CosineSchedule()
        self.memory_budget = memory_budget
        self.image_shape = pool.image_shape
        self.classes = pool.classes
        self._images = pool.images
        self._of_class: dict[int, Int64[Tensor, " n"]] = {
            label: (pool.labels == label).nonzero()[:, 0] for label in pool.classes if pool.labels is not None
        }

    @abstractmethod
    def _footprint(self) -> Footprint:
        """Bytes that `_posterior` needs."""

    @abstractmethod
    def _posterior(
        self, queries: Tensor, precision: Tensor, levels: Tensor, index: Tensor | None, dtype: torch.dtype
    ) -> PosteriorSum:
        """The posterior of each query over the pool's images at `index`; `levels` (B,) are sigma_t / alpha_t."""

    def _denoise(self, x_t: Tensor, t: Tensor, label: Tensor | None) -> Tensor:
        x0_hat = torch.empty_like(x_t)
        queries, precision = self._queries(x_t, t)
        levels = self.schedule.noise_level(t)
        for index, samples in self._batches(label, len(x_t), self._footprint()):
            posterior = self._posterior(queries[samples], precision[samples], levels[samples], index, x_t.dtype)
            x0_hat[samples] = posterior.mean().to(x_t)
        return x0_hat

    def _batches(
        self, label: Tensor | None, count: int, footprint: Footprint
    ) -> Iterator[tuple[Int64[Tensor, " n"] | None, Int64[Tensor, " b"]]]:
        """Samples to be done together: of one label, and few enough for the memory budget; with the images they may match."""
        for value, samples in samples_by_label(label, count, self.device):
            index = None if value is None else self._of_class[value]
            images = len(self._images) if index is None else len(index)
            for batch in samples.split(footprint.queries_at_once(len(samples), images, self.memory_budget, self.device)):
                yield index, batch

    def _queries(self, x_t: Tensor, t: Tensor) -> tuple[Float64[Tensor, "B C H W"], Float64[Tensor, " B"]]:
        """(y, gamma), in float64 so that nothing of x_t is lost to the division.

        Where alpha_t = 0 nothing is seen: gamma = 0 makes all weights equal, whatever y.
        """
        alpha, _ = self.schedule(t)
        visible = torch.where(alpha > 0, alpha, torch.ones_like(alpha))
        return x_t.double() / visible[:, None, None, None], self.schedule.snr(t)

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self._images.device

    def to(self: SomePosterior, device: torch.device | str) -> SomePosterior:
        """Move the pool to a device, in place; returns the denoiser itself."""
        self._images = self._images.to(device)
        self._of_class = {label: index.to(device) for label, index in self._of_class.items()}
        return self

    def describe(self) -> dict[str, Any]:
        """Class, pool and schedule, as JSON-able data."""
        return {"denoiser": type(self).__name__, "pool": self.pool.content_hash, "schedule": self.schedule.to_json()}
