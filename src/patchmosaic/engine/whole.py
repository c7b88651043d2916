"""Softmax over whole images, exact at the speed of float32.

    l_n = gamma (‖y‖² - ‖y - phi_n‖²)/2 = gamma (y·phi_n - ‖phi_n‖²/2),    value phi_n

The term ‖y‖² is the same for all n and drops out of the softmax. Where only r linear functions of an image are seen, U'y and
U'phi_n take the places of y and phi_n in the log-weights; the values stay whole images.

Distances to a block of images come at once, in float32: as sums of squares where the native kernel serves, elsewhere from one
matrix product. Both round, and gamma makes it much. Independent errors e of log-weights move the mean by

    e sqrt(sum w²) <= e sqrt(max w),    sum w = 1

so it is enough to compute again, in float64, the distances of images with a share above (STIR / e)² of all the weight. They are
few, for shares sum to 1. What is left is estimated (`exact`).

Images come in blocks, of which distances, weights and sums are made one after another. For few queries, where reading the pool
is the work, the native kernel makes them all while an image is in its cache (`_stream`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from patchmosaic.engine.belief import TracedSum, traced
from patchmosaic.engine.bounds import skip_threshold
from patchmosaic.engine.distances import Distances, MatrixProducts, SquaredDifferences
from patchmosaic.engine.distributed import ALONE, Ranks
from patchmosaic.engine.memory import WIDEST, Footprint, StoredImages
from patchmosaic.engine.native.instructions import instruction_set
from patchmosaic.engine.posterior import Empty, PosteriorSum
from patchmosaic.engine.precision import exact, float32_products

BLOCK_BYTES = 32 * 2**20  # of stored images: much, so that what is done between two blocks does not count
FEW, STREAM_BYTES = 4, 2**28  # fewer queries have their images streamed, so much at a time: Ctrl-C is heard between
FIRST = 1024  # images at most, and a sixteenth of all, tell how large log-weights are, and some of their weight
STIR = 1.5e-6  # by so much rounding may move the mean
UNDERFLOW = 80.0  # exp(-80) is nothing and still a normal number: others are slow
SKIPPED_SHARE = {torch.float32: 2.0**-26, torch.float64: 2.0**-53}


def whole_image_posterior(
    queries: Float64[Tensor, "B C H W"],
    precision: Float64[Tensor, " B"],
    images: StoredImages,
    index: Int64[Tensor, " n"] | None,
    dtype: torch.dtype,
    memory_budget: int,
    ranks: Ranks = ALONE,
    seen: Float64[Tensor, "D r"] | None = None,
    empty: Empty = PosteriorSum.empty,
) -> PosteriorSum:
    """The posterior of each query over the images of the pool (those at `index`), in O(B N C H W) multiply-adds.

    Args:
        dtype: float32, with float64 where that is not enough, or float64.
        ranks: those whose posteriors are merged; whether float32 is enough shows in the whole only.
        seen: U, orthonormal columns: all that is seen of an image. By default everything.
        empty: the state to fill.

    Raises:
        MemoryBudgetError: `memory_budget` bytes do not hold one image against one query.
    """

    def one_pass(
        queries: Tensor, precision: Tensor, dtype: torch.dtype, answers: Sequence[int]
    ) -> tuple[list[PosteriorSum], list[Tensor]]:
        state, error = _one_pass(queries, precision, images, index, dtype, memory_budget, ranks, seen, empty)
        return [state], [error]

    return exact(one_pass, 1, queries, precision, dtype)[0]


def whole_image_footprint(image_shape: Sequence[int]) -> Footprint:
    """Bytes that `whole_image_posterior` needs."""
    pixels = math.prod(image_shape)
    # Three of an image: itself, and its squares, or the bytes and float32 that it is made from while the last block lives.
    return Footprint(pair=8 * WIDEST, query=5 * WIDEST * pixels, image=3 * WIDEST * pixels)


@float32_products()
def _one_pass(
    queries: Tensor,
    precision: Tensor,
    images: Tensor,
    index: Tensor | None,
    dtype: torch.dtype,
    memory_budget: int,
    ranks: Ranks,
    seen: Tensor | None,
    empty: Empty,
) -> tuple[PosteriorSum, Tensor]:
    """The posterior, and the estimated relative L2 error (B,) of its mean."""
    shape, count = queries.shape[1:], len(images) if index is None else len(index)
    state = empty(len(queries), shape, False, queries.device)
    keys = queries.flatten(1) if seen is None else queries.flatten(1) @ seen
    instructions = instruction_set() if queries.device.type == "cpu" and seen is None else None
    way: Distances = (
        SquaredDifferences(keys, images, index, dtype, instructions)
        if instructions
        else MatrixProducts(keys, images, index, dtype, seen)
    )
    footprint = whole_image_footprint(shape)
    if instructions:
        footprint = replace(footprint, image=0)  # images are met where they lie
    block = footprint.images_at_once(len(queries), count, memory_budget, queries.device)
    own = 0.5 * keys.square().sum(1)
    theta = skip_threshold(max(1, count), SKIPPED_SHARE[dtype])
    if isinstance(way, SquaredDifferences) and len(queries) < FEW and not isinstance(state, TracedSum):
        rough = _stream(state, way, count, shape, precision, own, theta, dtype)
    else:
        block = max(1, min(block, BLOCK_BYTES // images[0].nbytes))
        rough = _in_blocks(state, way, count, block, index, shape, precision, own, theta, dtype)
    return _merged(state, rough, way, precision, own, ranks)


def _stream(
    state: PosteriorSum,
    way: SquaredDifferences,
    count: int,
    shape: torch.Size,
    precision: Tensor,
    own: Tensor,
    theta: float,
    dtype: torch.dtype,
) -> Tensor:
    """Add all images to `state`; returns (B,) the sum of squared weights whose distances are not exact."""
    rough = torch.zeros_like(precision)
    if count == 0:
        return rough
    half = way.half_squared_distances(0, max(1, min(count // 16, FIRST)))
    nearest = half.amin(1)
    known = torch.exp(precision[:, None] * (nearest[:, None] - half)).sum(1)
    block = max(1, STREAM_BYTES // way.images[0].nbytes)
    for start in range(0, count, block):
        bar = _anew_within(way.log_weight_error(precision, nearest), dtype)
        for found in way.stream(start, min(count, start + block), precision, nearest, known, bar, theta):
            before, m = state.m[:, 0, 0], precision * (own - found.nearest)
            state.merge_(PosteriorSum(m[:, None, None], found.weight[:, None, None], found.sums.view(-1, *shape)))
            after = state.m[:, 0, 0]
            rough = rough * torch.exp(2 * (before - after)) + found.rough * torch.exp(2 * (m - after))
            nearest = torch.minimum(nearest, found.nearest)
        known = state.s[:, 0, 0] * torch.exp(state.m[:, 0, 0] - precision * (own - nearest))
    return rough


def _in_blocks(
    state: PosteriorSum,
    way: Distances,
    count: int,
    block: int,
    index: Tensor | None,
    shape: torch.Size,
    precision: Tensor,
    own: Tensor,
    theta: float,
    dtype: torch.dtype,
) -> Tensor:
    """The same, one block after another."""
    gamma, own = precision[:, None], own[:, None]
    nearest = torch.full_like(gamma, math.inf)
    rough = torch.zeros_like(gamma)
    for start in range(0, count, block):
        stop = min(count, start + block)
        half = way.half_squared_distances(start, stop)  # (B, n)
        closest = half.amin(1, keepdim=True)
        before, nearest = nearest, torch.minimum(nearest, closest)
        m = gamma * (own - nearest)
        total = state.s[:, 0] * torch.exp(state.m[:, 0] - m)  # of the weights so far
        bar = _anew_within(way.log_weight_error(precision, nearest[:, 0])[:, None], dtype)
        reach = (bar - total.log()).clamp_min(theta)  # an image farther behind the nearest, in log-weight, does not count
        if not isinstance(state, TracedSum) and (gamma * (closest - nearest) > reach).all():
            continue
        behind, weights = _weights(gamma, half, nearest, dtype)
        stayed = weights
        heavy = behind < bar - (total + weights.sum(1, keepdim=True)).log()
        if heavy.any():
            way.compute_anew(half, heavy, start, stop)
            nearest = torch.minimum(before, half.amin(1, keepdim=True))
            m = gamma * (own - nearest)
            _, weights = _weights(gamma, half, nearest, dtype)
            stayed = weights.masked_fill(heavy, 0.0)
        weights = torch.nn.functional.threshold(weights, math.exp(-theta), 0.0)
        rough = rough * torch.exp(2 * (state.m[:, 0] - m)) + stayed.square().sum(1, keepdim=True)
        values = way.weighted_sums(weights, start, stop).view(-1, *shape)
        part = PosteriorSum(m[:, None], weights.sum(1, dtype=torch.float64)[:, None, None], values)
        if isinstance(state, TracedSum):
            numbers = torch.arange(start, stop, device=half.device) if index is None else index[start:stop]
            source = (numbers * math.prod(shape[1:]))[:, None, None]
            part = traced(part, (gamma * (own - half))[..., None, None], source, state.top.shape[1])
        state.merge_(part)
    return rough[:, 0]


def _weights(gamma: Tensor, half: Tensor, nearest: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """How far behind the nearest each image is, in log-weight, and the weights (B, n) relative to it."""
    behind = (half - nearest).mul_(gamma).to(dtype)
    return behind, behind.clamp_max(UNDERFLOW).neg_().exp_()


def _anew_within(error: Tensor, dtype: torch.dtype) -> Tensor:
    """How far behind the nearest distances are computed anew, where the weights relative to it sum to 1.

    A share w as it is known may be exp(2 error) of itself: it and the nearest may both be wrong.
    """
    if dtype == torch.float64:
        return torch.full_like(error, -math.inf)
    return 2 * (error / STIR).log() + 2 * error


def _merged(
    state: PosteriorSum, rough: Tensor, way: Distances, precision: Tensor, own: Tensor, ranks: Ranks
) -> tuple[PosteriorSum, Tensor]:
    """The posterior over all ranks, and its estimated error, on which they agree.

    Independent errors e of log-weights move a mean by at most e sqrt(sum w²); where one image has nearly all the weight only
    the rest, (s - 1) / s, can move. Values are taken to differ by 1, half the width of [-1, 1].
    """
    whole = ranks.merge(state)
    m, s = whole.m[:, 0, 0], whole.s[:, 0, 0]
    rough = -ranks.least(-(rough * torch.exp(2 * (state.m[:, 0, 0] - m)).nan_to_num(0.0))) * ranks.shards
    error = -ranks.least(-way.log_weight_error(precision, own - m / precision.clamp_min(1e-300)))
    moved = error * torch.minimum(rough.sqrt(), s - 1).clamp_min(0) / s
    return whole, moved / whole.mean().square().flatten(1).mean(1).sqrt().clamp_min(1e-3)
