"""What all posterior-mean denoisers share: a pool, and a softmax over candidates taken from it.

    x0_hat = sum_j w_j v_j,    w = softmax_j(-‖x_t - alpha_t phi_j‖² / (2 sigma_t²))
                                 = softmax_j(-gamma/2 ‖y - phi_j‖²),    y = x_t / alpha_t,  gamma = (alpha_t / sigma_t)²

A machine says which candidates there are; samples with the same label share a pool and are done together.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from patchmosaic.data.imageset import ImageSet
from patchmosaic.denoisers.base import Denoiser, samples_by_label
from patchmosaic.engine.distributed import ALONE, Ranks
from patchmosaic.engine.memory import DEFAULT_BUDGET, Footprint
from patchmosaic.engine.posterior import Empty, PosteriorSum
from patchmosaic.errors import DataError
from patchmosaic.noise import CosineSchedule, NoiseSchedule

SomePosterior = TypeVar("SomePosterior", bound="PosteriorDenoiser")


@dataclass(frozen=True)
class Question:
    """What a machine is asked: the posterior of some queries over some images of its pool.

    Attributes:
        queries: (B, C, H, W), y = x_t / alpha_t.
        precision: (B,), gamma = (alpha_t / sigma_t)².
        levels: (B,), sigma_t / alpha_t.
        index: the images that count; None for all.
        dtype: float32, with float64 where that is not enough, or float64.
        ranks: those that hold the pool between them.
        empty: makes the state to be filled.
    """

    queries: Float64[Tensor, "B C H W"]
    precision: Float64[Tensor, " B"]
    levels: Float64[Tensor, " B"]
    index: Int64[Tensor, " n"] | None
    dtype: torch.dtype
    ranks: Ranks = ALONE
    empty: Empty = PosteriorSum.empty

    def __getitem__(self, samples: Tensor) -> Question:
        """The same of some of the queries."""
        return replace(self, queries=self.queries[samples], precision=self.precision[samples], levels=self.levels[samples])


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
        self._images = pool.stored
        # Which images a label may match; for None, all where there is no entry.
        self._of_class: dict[int | None, Int64[Tensor, " n"]] = {label: pool.of_class(label) for label in pool.classes}
        self._ranks = ALONE

    def distribute(self: SomePosterior, ranks: Ranks) -> SomePosterior:
        """Average over the pool together with other ranks, each over its shard; in place, returns the denoiser itself.

        From then on the ranks make every call together, with the same arguments, and get the same result. To a GPU only the
        shard is moved.

        Raises:
            DataError: fewer images than shards.
        """
        if len(self.pool) < ranks.shards:
            raise DataError(f"{ranks.shards} shards need as many images", got=len(self.pool), hint="Take fewer shards.")
        self._ranks = ranks
        if ranks.shards > 1:
            self._of_class = {label: ranks.of_shard(index) for label, index in self._of_class.items()}
            self._of_class[None] = ranks.shard(len(self.pool))
        return self

    @abstractmethod
    def _footprint(self) -> Footprint:
        """Bytes that `_posterior` needs."""

    @abstractmethod
    def _posterior(self, asked: Question) -> PosteriorSum:
        """The answer."""

    def _denoise(self, x_t: Tensor, t: Tensor, label: Tensor | None) -> Tensor:
        x0_hat = torch.zeros_like(x_t)
        for samples, asked in self._questions(x_t, t, label, self._footprint()):
            x0_hat[samples] = self._image(self._posterior(asked).mean()).to(x_t)
        return self._ranks.gather(x0_hat)

    def _image(self, mean: Tensor) -> Tensor:
        """x0_hat (B, C, H, W) from the mean of the posterior: itself, where that is a posterior of pixels."""
        return mean

    def _questions(
        self, x_t: Tensor, t: Tensor, label: Tensor | None, footprint: Footprint, empty: Empty = PosteriorSum.empty
    ) -> Iterator[tuple[Int64[Tensor, " b"], Question]]:
        """Samples to be done together, with what to ask of them: of one label, and few enough for the memory budget."""
        whole = Question(*self._queries(x_t, t), self.schedule.noise_level(t), None, x_t.dtype, empty=empty)
        # Where this rank holds no image of the class, another image stands in and counts for nothing.
        for value, everyone in samples_by_label(label, len(x_t), self.device):
            samples = self._ranks.of_team(everyone)
            if len(samples) == 0:
                continue
            index = self._of_class.get(value)
            ranks = self._ranks
            if index is not None and len(index) == 0:
                index, ranks = index.new_zeros(1), replace(ranks, held=False)
            images = len(self._images) if index is None else len(index)
            most = footprint.queries_at_once(len(samples), images, self.memory_budget, self.device)
            # Ranks hold different numbers of images, but must cut a batch alike.
            agreed = int(ranks.least(torch.tensor(most, device=self.device)))
            for batch in samples.split(agreed):
                yield batch, replace(whole[batch], index=index, ranks=ranks)

    @property
    def torus(self) -> bool:
        """Whether what a pixel sees goes round the edges of the image."""
        return False

    def places(self, noise_level: float) -> Int64[Tensor, "H W"]:
        """In how many places of a training image each pixel may find its match, at sigma / alpha = `noise_level`."""
        return torch.ones(self.image_shape[1:], dtype=torch.int64)

    def _given(self, asked: Question) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """What every posterior of the engine begins with: queries, precision, images, index."""
        return asked.queries, asked.precision, self._images, asked.index

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
        if torch.device(device).type != "cpu" and None in self._of_class:
            self._images = self._images[self._of_class.pop(None)]
            self._of_class = {label: index // self._ranks.shards for label, index in self._of_class.items()}
        self._images = self._images.to(device)
        self._of_class = {label: index.to(device) for label, index in self._of_class.items()}
        return self

    def describe(self) -> dict[str, Any]:
        """Class, pool and schedule, as JSON-able data."""
        return {"denoiser": type(self).__name__, "pool": self.pool.content_hash, "schedule": self.schedule.to_json()}
