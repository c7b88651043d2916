"""A preview: a machine's answer over a random subset of its pool, at the cost of the subset, with an estimate of its error.

Every call asks the same images, so that a trajectory is one of a smaller pool; a call with a label asks images of that class.
The error is a jackknife over independent parts of the subset: an *estimate*, right on average, not a bound. It cannot know of
an image that is not in the subset, even where that image alone would decide the answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from patchmosaic.denoisers.base import Denoiser, samples_by_label
from patchmosaic.denoisers.wrapper import Posterior, Wrapper
from patchmosaic.engine.jackknife import jackknife_variance, merged, relative_error
from patchmosaic.errors import PatchMosaicError


@dataclass(frozen=True)
class Estimate:
    """An answer, and how far from the machine's own it is estimated to be.

    Attributes:
        x0_hat: (B, C, H, W), what the preview answers when called.
        error: (B,) estimated relative L2 error; 0 where the subset is the whole pool.
        error_map: (B, H, W) estimated standard error of each pixel, in units of the image's values, root mean square over
            channels.
    """

    x0_hat: Float[Tensor, "B C H W"]
    error: Float64[Tensor, " B"]
    error_map: Float64[Tensor, "B H W"]


class Preview(Wrapper):
    """A machine over a random subset of its pool.

        preview = Preview(EquivariantLocalDenoiser(pool, 7), images=500)
        preview(x_t, t)                    like the machine itself, N / 500 times as fast
        preview.estimate(x_t, t).error     (B,) how far off that probably is

    Args:
        machine: whose answers to preview.
        images: how many images a call asks, of all that its label admits; with as many as there are, it is the machine.
        parts: of the subset, equal in size: the more, the steadier the estimate, at hardly more cost.
        seed: which images; the same seed and pool, the same images.

    Raises:
        PatchMosaicError: fewer than two parts, fewer images than parts, or a machine without a pool.
    """

    def __init__(self, machine: Denoiser, images: int = 500, *, parts: int = 8, seed: int = 0) -> None:
        super().__init__(machine, seed)
        if not 2 <= parts <= images:
            raise PatchMosaicError(
                "a preview needs at least two parts and as many images as parts",
                got=f"{images} images in {parts} parts",
                hint="Try images=500, parts=8.",
            )
        self.images = images
        self.parts = parts
        self._chosen: dict[int | None, Int64[Tensor, " n"]] = {}
        self._admitted: dict[int | None, int] = {}

    def chosen(self, label: int | None = None) -> Int64[Tensor, " n"]:
        """The positions in the pool of the images that a call with this label asks, in random order."""
        if label not in self._chosen:
            everything = self.shuffled(label)
            self._admitted[label] = len(everything)
            self._chosen[label] = everything[: self.images].clone()
        return self._chosen[label].to(self.device)

    def seen(self, label: int | None = None) -> float:
        """The share that `chosen` is of the images with this label, or of all."""
        return len(self.chosen(label)) / self._admitted[label]

    def estimate(self, x_t: Float[Tensor, "B C H W"], t: float | Tensor, label: int | Tensor | None = None) -> Estimate:
        """x0_hat and its estimated error. Arguments and errors as for the call."""
        x_t, times, labels = self._checked(x_t, t, label)
        x0_hat = torch.empty_like(x_t)
        variance = torch.zeros_like(x_t, dtype=torch.float64)
        for value, samples, posterior in self._batches(x_t, times, labels):
            chosen = self.chosen(value)
            # A class may have fewer images than there are parts; then the subset is all of it, and there is no error.
            parts = [
                posterior(part.sort().values) for part in (chosen[j :: self.parts] for j in range(self.parts)) if len(part)
            ]
            x0_hat[samples] = merged(parts).mean().to(x_t)
            if self.seen(value) < 1:
                variance[samples] = jackknife_variance(parts, self.seen(value))
        return Estimate(x0_hat, relative_error(x0_hat, variance), variance.mean(1).sqrt())

    def _denoise(self, x_t: Tensor, t: Tensor, label: Tensor | None) -> Tensor:
        x0_hat = torch.empty_like(x_t)
        for value, samples, posterior in self._batches(x_t, t, label):
            x0_hat[samples] = posterior(self.chosen(value).sort().values).mean().to(x_t)
        return x0_hat

    def _batches(
        self, x_t: Tensor, t: Tensor, label: Tensor | None
    ) -> Iterator[tuple[int | None, Int64[Tensor, " b"], Posterior]]:
        """Samples of one label, as many as the machine's memory budget allows, and their posterior over images to be named."""
        for value, everyone in samples_by_label(label, len(x_t), self.device):
            images = len(self.chosen(value))
            at_once = self.machine._footprint().queries_at_once(len(everyone), images, self.machine.memory_budget, self.device)
            for samples in everyone.split(at_once):
                yield value, samples, partial(self._posterior, x_t[samples], t[samples])

    def describe(self) -> dict[str, Any]:
        """The machine, and which subset of its pool, as JSON-able data."""
        return {**self.machine.describe(), "preview": {"images": self.images, "seed": self.seed}}
