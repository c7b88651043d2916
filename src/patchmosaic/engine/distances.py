"""How far whole images are from queries, and weighted sums of them: in C++, or in plain torch on any device.

    half   ‖y - phi‖²/2    a sum of squared differences, or ‖y‖²/2 - (y·phi - ‖phi‖²/2)

The first cancels nothing, and its error is that of the distance; the second is one matrix product for all queries and images,
and its error is that of the product.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from patchmosaic.engine.memory import as_numbers
from patchmosaic.engine.native.whole_images import Found, compute_anew, half_squared_distances, stream, weighted_sums
from patchmosaic.engine.posterior import FLOAT32_ROUNDOFF

AT_ONCE = 64  # images that are made float64 together


@runtime_checkable
class Distances(Protocol):
    """A way to meet the images `start` to `stop` of those that count."""

    def half_squared_distances(self, start: int, stop: int) -> Tensor:
        """(B, n) in float64, as exact as dtype allows."""

    def compute_anew(self, half: Tensor, where: Tensor, start: int, stop: int) -> None:
        """The same, in place and only `where` (B, n) it is asked for, as exact as float64 allows."""

    def weighted_sums(self, weights: Tensor, start: int, stop: int) -> Tensor:
        """(B, D) in float64, of the images last met."""

    def log_weight_error(self, gamma: Tensor, nearest: Tensor) -> Tensor:
        """(B,), the rounding of log-weights near the largest, where half the squared distance is `nearest`."""


class SquaredDifferences:
    """In C++, image after image as they are stored."""

    def __init__(self, keys: Tensor, images: Tensor, index: Tensor | None, dtype: torch.dtype, instructions: str) -> None:
        self.exact_keys, self.keys = keys, keys.to(dtype)
        self.images, self.index, self.instructions = images, index, instructions
        # Bytes are met as 0 ... 255, where y + 1 is rounded.
        self.largest = (keys + 1 if images.dtype == torch.uint8 else keys).square().mean(1).sqrt().clamp_min(1)

    def half_squared_distances(self, start: int, stop: int) -> Tensor:
        return half_squared_distances(self.keys, self.images, self.index, start, stop, self.instructions)

    def compute_anew(self, half: Tensor, where: Tensor, start: int, stop: int) -> None:
        compute_anew(half, where, self.exact_keys, self.images, self.index, start, stop, self.instructions)

    def weighted_sums(self, weights: Tensor, start: int, stop: int) -> Tensor:
        return weighted_sums(weights, self.images, self.index, start, stop, self.instructions)

    def stream(
        self, start: int, stop: int, precision: Tensor, nearest: Tensor, weight: Tensor, anew_within: Tensor, skip: float
    ) -> Iterator[Found]:
        """All of the above at once, for few queries."""
        asked = self.keys, self.exact_keys, precision, self.images, self.index, start, stop
        return stream(*asked, nearest, weight, anew_within, skip, self.instructions)

    def log_weight_error(self, gamma: Tensor, nearest: Tensor) -> Tensor:
        # Of the sum, whose parts are soon passed on to float64, and of y before the difference is squared.
        size = gamma * nearest.clamp_min(0)
        return FLOAT32_ROUNDOFF * (size + self.largest * (2 * size * gamma).sqrt())


class MatrixProducts:
    """In plain torch, by matrix products, on any device."""

    def __init__(self, keys: Tensor, images: Tensor, index: Tensor | None, dtype: torch.dtype, seen: Tensor | None) -> None:
        self.exact_keys, self.keys = keys, keys.to(dtype)
        self.images, self.index, self.dtype, self.seen = images, index, dtype, seen
        self.own = 0.5 * keys.square().sum(1, keepdim=True)
        self.lengths, self.longest = keys.norm(dim=1), torch.zeros((), dtype=torch.float64, device=keys.device)

    def half_squared_distances(self, start: int, stop: int) -> Tensor:
        chosen = slice(start, stop) if self.index is None else self.index[start:stop]
        self.met = as_numbers(self.images[chosen], self.dtype).flatten(1)
        offered = self.met if self.seen is None else self.met @ self.seen.to(self.dtype)
        norms = offered.square().sum(1)
        self.longest = torch.maximum(self.longest, norms.amax().double().sqrt())
        return self.own - (self.keys @ offered.T - 0.5 * norms).double()

    def compute_anew(self, half: Tensor, where: Tensor, start: int, stop: int) -> None:
        for query in where.any(1).nonzero()[:, 0].tolist():
            asked = where[query].nonzero()[:, 0]
            for some in asked.split(AT_ONCE):
                which = start + some if self.index is None else self.index[start + some]
                offered = as_numbers(self.images[which], torch.float64).flatten(1)
                if self.seen is not None:
                    offered = offered @ self.seen
                half[query, some] = 0.5 * (self.exact_keys[query] - offered).square().sum(1)

    def weighted_sums(self, weights: Tensor, start: int, stop: int) -> Tensor:
        return (weights @ self.met).double()

    def log_weight_error(self, gamma: Tensor, nearest: Tensor) -> Tensor:
        error: Tensor = FLOAT32_ROUNDOFF * gamma * self.longest * (self.lengths + self.longest)
        return error
