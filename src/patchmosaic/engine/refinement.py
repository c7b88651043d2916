"""Looking at more images, until the error is small enough: where to look next, and when to stop.

`CoarseToFine` looks where bounds of the weights say that there may be weight, and stops when what is left out cannot matter:
its error is a bound. `RandomSubset` looks anywhere, and stops when a jackknife says that more would hardly change the answer:
its error is an estimate. Both look at a few images when they are made, so as to know how many they will need.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from patchmosaic.engine.bounds import allowed_share, worst_error
from patchmosaic.engine.jackknife import jackknife_variance, merged, relative_error
from patchmosaic.engine.posterior import PosteriorSum

FIRST = 64  # images that are looked at before it is known how many are needed
PARTS = 8
MARGIN = 2.0  # an estimate must be so many times smaller than the tolerance


@runtime_checkable
class Ask(Protocol):
    """What one query makes of the images at some positions of a pool."""

    def __call__(self, index: Int64[Tensor, " n"], dtype: torch.dtype | None = None) -> PosteriorSum:
        """The posterior over them; in the precision of the query, unless `dtype` is given."""


@dataclass(frozen=True)
class Refined:
    """An answer within the tolerance: the mean, the bound or estimate of its relative L2 error, and how many images it took."""

    mean: Float64[Tensor, "1 C H W"]
    error: float
    images: int


class CoarseToFine:
    """The images that may weigh something, all others bounded. For machines with one softmax for the whole image.

    Args:
        ask: the posterior of one query.
        images: positions in the pool.
        upper: bound of the log of all weight that each of `images` has; on the scale of the posterior's log-weights.
        low, high: what the values of candidates lie between.
        tolerance: the relative L2 error to keep.
        first: how many images to look at before it is known how many are needed.
    """

    def __init__(
        self,
        ask: Ask,
        images: Int64[Tensor, " n"],
        upper: Float64[Tensor, " n"],
        low: Float64[Tensor, "C 1 1"],
        high: Float64[Tensor, "C 1 1"],
        tolerance: float,
        first: int = FIRST,
    ) -> None:
        self._ask, self._images, self._upper, self._tolerance = ask, images, upper, tolerance
        self._low, self._high = low, high
        likeliest = upper.topk(min(first, len(images))).indices
        self._seen = torch.zeros_like(upper, dtype=torch.bool)
        self._seen[likeliest] = True
        # In float64, whose rounding the bounds allow for.
        self._posterior = ask(images[likeliest], torch.float64)
        # Half of what is allowed, because the average that it is allowed for will still move.
        share = 0.5 * allowed_share(self._posterior.mean(), tolerance, low, high)
        known = self._posterior.m + self._posterior.s.log()
        self._wanted = (upper > (known + share.log() - math.log(len(images))).item()) & ~self._seen

    @property
    def missing(self) -> int:
        """How many more images `finish` will look at."""
        return int(self._wanted.sum())

    def finish(self, most: int) -> Refined | None:
        """Look at them; None where it would take more than `most` in all, or where the error turns out too large."""
        if int(self._seen.sum()) + self.missing > most:
            return None
        if self.missing:
            self._posterior.merge_(self._ask(self._images[self._wanted], torch.float64))
            self._seen |= self._wanted
        left_out = torch.logsumexp(self._upper[~self._seen], 0)
        error = worst_error(self._posterior, left_out.view(1, 1, 1), self._low, self._high).item()
        if not error <= self._tolerance:
            return None
        return Refined(self._posterior.mean(), error, int(self._seen.sum()))


class RandomSubset:
    """The first images of a random order, as many as the estimated error asks for.

    Args:
        ask: the posterior of one query.
        images: positions in the pool, shuffled.
        tolerance: the relative L2 error to keep; the estimate is made `MARGIN` times smaller.
        first: as for `CoarseToFine`, but a multiple of PARTS.
    """

    def __init__(self, ask: Ask, images: Int64[Tensor, " n"], tolerance: float, first: int = FIRST) -> None:
        self._ask, self._images, self._target = ask, images, tolerance / MARGIN
        self._parts: list[PosteriorSum] = []
        self._seen = 0
        self._look(first)

    @property
    def missing(self) -> int:
        """How many more images it should take, if the square of the error falls like 1 / seen - 1 / all; at least a quarter."""
        if self._error <= self._target:
            return 0
        count = len(self._images)
        reciprocal = 1 / count + (1 / self._seen - 1 / count) * (self._target / self._error) ** 2
        return PARTS * math.ceil(max(1 / reciprocal, 1.25 * self._seen) / PARTS) - self._seen

    def finish(self, most: int) -> Refined | None:
        """Look at them, and at more if they do not do; None where it would take more than `most` in all, or everything."""
        while self.missing:
            if self._seen + self.missing > min(most, len(self._images) - 1):
                return None
            self._look(self._seen + self.missing)
        return Refined(merged(self._parts).mean(), self._error, self._seen)

    def _look(self, images: int) -> None:
        """See so many images in all, a multiple of PARTS, each part as many."""
        new = self._images[self._seen : images]
        parts = [self._ask(new[j::PARTS].sort().values) for j in range(PARTS)]
        self._parts = [merged(both) for both in zip(self._parts, parts, strict=True)] if self._parts else parts
        self._seen = images
        share = images / len(self._images)
        self._error = relative_error(merged(self._parts).mean(), jackknife_variance(self._parts, share)).item()
