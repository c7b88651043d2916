"""What stands before a machine and answers in its place: same schedule, same images, same classes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from jaxtyping import Int64
from torch import Tensor

from patchmosaic.denoisers.base import Denoiser
from patchmosaic.denoisers.posterior import PosteriorDenoiser, Question
from patchmosaic.engine.posterior import PosteriorSum
from patchmosaic.errors import PatchMosaicError

Posterior = Callable[[Int64[Tensor, " n"]], PosteriorSum]  # of some samples, over the images at some positions of the pool

SomeWrapper = TypeVar("SomeWrapper", bound="Wrapper")


class Wrapper(Denoiser):
    """Base of denoisers that ask a machine about some images of its pool.

    Args:
        machine: the machine; it can still be used by itself.
        seed: of the random order in which images are asked for.

    Raises:
        PatchMosaicError: not a machine that averages images of a pool; on a call, one that is spread over processes.
    """

    def __init__(self, machine: Denoiser, seed: int = 0) -> None:
        # Of some machines the posterior is of patches, which the bounds do not speak of.
        if not isinstance(machine, PosteriorDenoiser) or type(machine)._image is not PosteriorDenoiser._image:
            raise PatchMosaicError(
                "only machines that average images of a pool can be asked about some", got=type(machine).__name__
            )
        self.machine = machine
        self.seed = seed
        self.schedule = machine.schedule
        self.image_shape = machine.image_shape
        self.classes = machine.classes

    @property
    def device(self) -> torch.device:
        """Where the machine computes."""
        return self.machine.device

    def to(self: SomeWrapper, device: torch.device | str) -> SomeWrapper:
        """Move the machine to a device, in place; returns the wrapper."""
        self.machine.to(device)
        return self

    def shuffled(self, label: int | None) -> Int64[Tensor, " n"]:
        """The positions of all images that a sample with this label may match, in an order that only `seed` decides."""
        pool = self.machine.pool
        order = torch.randperm(len(pool), generator=torch.Generator().manual_seed(self.seed))
        return (order if label is None else order[torch.isin(order, pool.of_class(label))]).to(self.device)

    def _posterior(self, x_t: Tensor, t: Tensor, index: Tensor, dtype: torch.dtype | None = None) -> PosteriorSum:
        """What the machine makes of the images at `index`; in the precision of `x_t` unless `dtype` is given."""
        if self.machine._ranks.world > 1:
            raise PatchMosaicError("a machine spread over processes answers for its whole pool only", got="some images of it")
        return self.machine._posterior(
            Question(*self.machine._queries(x_t, t), self.schedule.noise_level(t), index, dtype or x_t.dtype)
        )
