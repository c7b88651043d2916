"""PosteriorSum: the state of a streamed softmax average, exact and mergeable.

    m = max_j l_j,    s = sum_j exp(l_j - m),    v = sum_j exp(l_j - m) v_j;    the mean is v / s

Two states merge associatively. That one operation serves blocks of a pool, class-conditional pools and shards of a pool.
The state is float64: it is small, and hundreds of thousands of merges in float32 would lose the fifth digit.

References:
    Milakov & Gimelshein 2018, "Online normalizer calculation for softmax".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import TypeVar

import torch
from jaxtyping import Float, Float64
from torch import Tensor

FLOAT32_ROUNDOFF = 2.0**-24
PIXEL_ALLOWANCE = 5  # times as much as the relative L2 error of its image, a pixel may err

SomeSum = TypeVar("SomeSum", bound="PosteriorSum")

# (batch, image_shape, per_pixel, device) -> an empty state: what is to be kept, plain sums or a TracedSum.
Empty = Callable[[int, Sequence[int], bool, torch.device], "PosteriorSum"]


@dataclass
class PosteriorSum:
    """Running softmax average of `B` queries.

    Attributes:
        m: (B, h, w), the largest log-weight so far; -inf where nothing was added.
        s: (B, h, w), the sum of the weights relative to exp(m).
        v: (B, C, H, W), the weighted sum of the values. (h, w) is (H, W) where each pixel has its own softmax, and
            (1, 1) where the whole image shares one.
    """

    m: Float64[Tensor, "B h w"]
    s: Float64[Tensor, "B h w"]
    v: Float64[Tensor, "B C H W"]

    @classmethod
    def empty(cls, batch: int, image_shape: Sequence[int], per_pixel: bool, device: torch.device) -> PosteriorSum:
        """The neutral element of `merge_`."""
        channels, height, width = image_shape
        cells = (batch, height, width) if per_pixel else (batch, 1, 1)
        m = torch.full(cells, -math.inf, dtype=torch.float64, device=device)
        return cls(m, torch.zeros_like(m), m.new_zeros(batch, channels, height, width))

    def __getitem__(self: SomeSum, samples: Tensor | slice) -> SomeSum:
        """The state of some of the queries."""
        return type(self)(*(part[samples] for part in self._parts()))

    def __setitem__(self, samples: Tensor | slice, other: PosteriorSum) -> None:
        """Replace the state of some of the queries."""
        for mine, theirs in zip(self._parts(), other._parts(), strict=True):
            mine[samples] = theirs

    def pixels(self: SomeSum, rows: Tensor, columns: Tensor) -> SomeSum:
        """The state of the pixels (rows[i], columns[j])."""
        return type(self)(*(part[..., rows[:, None], columns] for part in self._parts()))

    def merge_(self: SomeSum, other: SomeSum, rows: Tensor | None = None, columns: Tensor | None = None) -> SomeSum:
        """Add the candidates of `other`, in place.

        With `rows` (h',) and `columns` (w',), `other` speaks of the pixels (rows[i], columns[j]) only.
        """
        here = None if rows is None or columns is None else (..., rows[:, None], columns)
        mine = self if rows is None or columns is None else self.pixels(rows, columns)
        for field, merged in zip(fields(self), mine.merged(other)._parts(), strict=True):
            if here is None:
                setattr(self, field.name, merged)
            else:
                getattr(self, field.name)[here] = merged
        return self

    def merged(self, other: PosteriorSum) -> PosteriorSum:
        """The state after the candidates of both."""
        m, old, new = self._peak(other)
        return PosteriorSum(m, self.s * old + other.s * new, self.v * old[:, None] + other.v * new[:, None])

    def _peak(self, other: PosteriorSum) -> tuple[Tensor, Tensor, Tensor]:
        """The largest log-weight of both, and what it leaves of the weights of each."""
        m = torch.maximum(self.m, other.m)
        # Where neither side has a candidate yet, -inf - -inf would be NaN: any finite peak gives weight 0.
        peak = torch.where(m == -math.inf, torch.zeros_like(m), m)
        return m, torch.exp(self.m - peak), torch.exp(other.m - peak)

    def _parts(self) -> list[Tensor]:
        return [getattr(self, field.name) for field in fields(self)]

    def mean(self) -> Float64[Tensor, "B C H W"]:
        """The softmax average of everything added so far."""
        return self.v / self.s[:, None]

    def rounding_error(self, log_weight_error: Float[Tensor, "B h w"]) -> Float64[Tensor, " B"]:
        """Estimated relative L2 error of `mean()` when each log-weight carries an independent error of the given size.

        The candidates that count number about s (s is at most the effective number 1 / sum w²), so independent errors
        average down by sqrt(s); and where one candidate has nearly all the weight, only the rest, (s - 1) / s, can move.
        Values are taken to differ by 1, half the width of [-1, 1].
        """
        moved = torch.minimum(self.s - 1, self.s.rsqrt()).clamp_min(0)
        error = (log_weight_error * moved).square().flatten(1).mean(1).sqrt()
        size = self.mean().square().flatten(1).mean(1).sqrt()
        return error / size.clamp_min(1e-3)

    def read_off(self: SomeSum, log_weight_error: Float[Tensor, "B h w"]) -> tuple[SomeSum, Float64[Tensor, " B"]]:
        """Where the last channel is the sum of the others' squares: the state without it, and `rounding_error` told from it.

        Independent errors of size e in the log-weights move a mean by e sqrt(V sum w²) with V the variance of the values; and
        sum w² <= 1 / s. A pixel may be moved `PIXEL_ALLOWANCE` times as far as the whole, no farther: where two unlike patches
        are all but equally likely it would be lost in the mean.
        """
        answer = replace(self, v=self.v[:, :-1])
        mean, squares = answer.mean(), self.v[:, -1] / self.s
        variance = (squares - mean.square().sum(1)).clamp_min(0) / mean.shape[1]
        moved = (log_weight_error.square() * variance / self.s.clamp_min(1)).flatten(1)
        size = mean.square().flatten(1).mean(1).sqrt().clamp_min(1e-3)
        return answer, torch.maximum(moved.mean(1).sqrt() / size, moved.amax(1).sqrt() / PIXEL_ALLOWANCE)
