"""TracedSum: a PosteriorSum that also remembers how its weights are spread and which candidates weigh most.

    w_j = exp(l_j - m) / s                                                     the belief in candidate j
    H = -sum_j w_j ln w_j = ln s + (1/s) sum_j exp(l_j - m) (m - l_j)          its entropy, in nats
    1 / sum_j w_j²                                                             effective number of candidates
    1 / sum_n (sum over the candidates j of image n of w_j)²                   effective number of images

All are sums over candidates, so that they merge as the posterior does and are exact over the whole pool; of single candidates
only the likeliest are kept. A candidate is a number, image H W + place. Where each pixel has a softmax of its own, `place` is
the pixel of that image, row W + column, whose value it offers; where the whole image shares one, the translation, likewise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from patchmosaic.engine.memory import WIDEST, Footprint
from patchmosaic.engine.posterior import Empty, PosteriorSum


@dataclass
class TracedSum(PosteriorSum):
    """A running softmax average, and the shape of its weights.

    Attributes:
        surprise: (B, h, w), the sum of exp(l - m) (m - l).
        squares: (B, h, w), the sum of exp(2 (l - m)).
        image_squares: (B, h, w), the sum over images of the square of the sum of exp(l - m).
        top: (B, k, h, w), the k largest log-weights, falling; -inf where there are fewer candidates.
        source: (B, k, h, w), who has them; -1 where nobody.
    """

    surprise: Float64[Tensor, "B h w"]
    squares: Float64[Tensor, "B h w"]
    image_squares: Float64[Tensor, "B h w"]
    top: Float64[Tensor, "B k h w"]
    source: Int64[Tensor, "B k h w"]

    @classmethod
    def keeping(cls, top: int) -> Empty:
        """What makes an empty state that keeps the `top` largest log-weights."""

        def empty(batch: int, image_shape: Sequence[int], per_pixel: bool, device: torch.device) -> PosteriorSum:
            plain = PosteriorSum.empty(batch, image_shape, per_pixel, device)
            nobody = plain.m[:, None].expand(-1, top, -1, -1).clone()
            surprise, squares, image_squares = (torch.zeros_like(plain.s) for _ in range(3))
            source = torch.full_like(nobody, -1, dtype=torch.int64)
            return cls(plain.m, plain.s, plain.v, surprise, squares, image_squares, nobody, source)

        return empty

    def merged(self, other: PosteriorSum) -> PosteriorSum:
        """The state after the candidates of both."""
        theirs = cast(TracedSum, other)
        m, old, new = self._peak(other)
        both = super().merged(other)
        offered = (torch.cat([self.top, theirs.top], 1), torch.cat([self.source, theirs.source], 1))
        top, source = largest(*offered, self.top.shape[1])
        return TracedSum(
            both.m,
            both.s,
            both.v,
            (self.surprise + _lowered(m, self)) * old + (theirs.surprise + _lowered(m, theirs)) * new,
            self.squares * old**2 + theirs.squares * new**2,
            self.image_squares * old**2 + theirs.image_squares * new**2,
            top,
            source,
        )

    @property
    def entropy(self) -> Float64[Tensor, "B h w"]:
        """H, in nats."""
        return (self.s.log() + self.surprise / self.s).clamp_min(0)

    @property
    def effective_candidates(self) -> Float64[Tensor, "B h w"]:
        """1 / sum w²."""
        return self.s.square() / self.squares

    @property
    def effective_images(self) -> Float64[Tensor, "B h w"]:
        """1 / sum over images of the square of what its candidates weigh together."""
        return self.s.square() / self.image_squares

    @property
    def weights(self) -> Float64[Tensor, "B k h w"]:
        """The beliefs in the likeliest candidates."""
        return torch.exp(self.top - self.m[:, None]) / self.s[:, None]  # ln s would be lost beside an m of 1e16


def traced_footprint(plain: Footprint, image_shape: Sequence[int], top: int) -> Footprint:
    """Bytes that a machine needs when it also traces: lists of the likeliest, for each thread too, and scratch for pairs."""
    pixels = math.prod(image_shape[1:])
    lists = WIDEST * pixels * (2 * top + 4) * (torch.get_num_threads() + 3)
    each = 8 * WIDEST * pixels
    return Footprint(pair=plain.pair + each, query=plain.query + lists, image=plain.image + each)


def _lowered(m: Tensor, state: TracedSum) -> Tensor:
    """What the sum of weights times (m - l) grows by where m rises; nothing where there is no weight yet."""
    return torch.where(state.s > 0, (m - state.m) * state.s, torch.zeros_like(m))


def largest(
    log_weights: Float64[Tensor, "B n h w"], source: Int64[Tensor, "B n h w"], top: int
) -> tuple[Float64[Tensor, "B k h w"], Int64[Tensor, "B k h w"]]:
    """The `top` largest log-weights and whose they are; of equal ones those with the smaller numbers come first."""
    by_number = source.argsort(1)
    log_weights, source = log_weights.gather(1, by_number), source.gather(1, by_number)
    order = log_weights.argsort(dim=1, descending=True, stable=True)[:, :top]
    return log_weights.gather(1, order), source.gather(1, order)


def traced(
    part: PosteriorSum,
    log_weights: Float[Tensor, "B n h w"],
    source: Int64[Tensor, "n h w"],
    top: int,
    image_squares: Float64[Tensor, "B h w"] | None = None,
) -> TracedSum:
    """A block's part of a posterior with the shape of its weights.

    Args:
        part: made of just these log-weights.
        log_weights: of the candidates, in nats.
        source: who they are.
        image_squares: by default every candidate is an image of its own.
    """
    below = part.m[:, None] - log_weights.double()
    weights = torch.exp(-below)
    squares = weights.square().sum(1)
    most = min(top, log_weights.shape[1])
    found, place = log_weights.double().topk(most, dim=1)
    whose = source.expand(len(found), -1, -1, -1).gather(1, place)
    missing = (0, 0, 0, 0, 0, top - most)
    return TracedSum(
        part.m,
        part.s,
        part.v,
        (weights * below).nan_to_num(0.0).sum(1),
        squares,
        squares if image_squares is None else image_squares,
        torch.nn.functional.pad(found, missing, value=-math.inf),
        torch.nn.functional.pad(whose, missing, value=-1),
    )


def of_images(log_weights: Float64[Tensor, "B n h w"], m: Float64[Tensor, "B h w"]) -> Float64[Tensor, "B h w"]:
    """The sum over images of squared weights relative to m, from the log of what the candidates of each weigh together."""
    return torch.exp(2 * (log_weights - m[:, None])).sum(1)
