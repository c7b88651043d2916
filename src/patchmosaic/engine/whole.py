"""Softmax over whole images, exact at the speed of float32.

    l_n = gamma (‖y‖² - ‖y - phi_n‖²)/2 = gamma (y·phi_n - ‖phi_n‖²/2),    value phi_n

The term ‖y‖² is the same for all n and drops out of the softmax. Where only r linear functions of an image are seen, U'y and
U'phi_n take the places of y and phi_n in the log-weights; the values stay whole images.

Distances to a block of images come at once, in float32: as sums of squares where the native kernel serves, elsewhere from one
matrix product. Both round, and gamma makes it much. But an error matters only in images that weigh much, and where the error is
large these are few: their distances are computed again, in float64. Where many images weigh alike their errors average out.
What is left is estimated (`exact`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

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

BLOCK_BYTES = 8 * 2**20  # of stored images: read twice, the second time from the cache
HARMLESS = 1e-7  # an error of a log-weight, and of the mean
FEW, MANY = 64, 256  # images of a block and a query that are worth computing again; so many that errors average out
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
    block = whole_image_footprint(shape).images_at_once(len(queries), count, memory_budget, queries.device)
    block = max(1, min(block, BLOCK_BYTES // images[0].nbytes))
    gamma, own = precision[:, None], 0.5 * keys.square().sum(1, keepdim=True)
    theta = skip_threshold(max(1, count), SKIPPED_SHARE[dtype])
    rough = torch.zeros_like(precision)  # the sum of squared weights whose distances stayed as they were
    nearest = torch.full_like(gamma, math.inf)
    for start in range(0, count, block):
        stop = min(count, start + block)
        half = way.half_squared_distances(start, stop)  # (B, n)
        nearest = torch.minimum(nearest, half.amin(1, keepdim=True))
        anew = torch.zeros_like(half, dtype=torch.bool)
        if dtype != torch.float64:
            _compute_anew(half, anew, way, gamma, nearest, start)
        log_weights = gamma * (own - half)
        m = torch.maximum(log_weights.amax(1), state.m[:, 0, 0])
        weights = torch.exp(log_weights - m[:, None])
        weights = torch.where(weights < math.exp(-theta), 0.0, weights)
        rough = rough * torch.exp(2 * (state.m[:, 0, 0] - m)) + weights.square().masked_fill(anew, 0).sum(1)
        values = way.weighted_sums(weights.to(dtype), start, stop).view(-1, *shape)
        part = PosteriorSum(m[:, None, None], weights.sum(1)[:, None, None], values)
        if isinstance(state, TracedSum):
            numbers = torch.arange(start, stop, device=half.device) if index is None else index[start:stop]
            source = (numbers * math.prod(shape[1:]))[:, None, None]
            part = traced(part, log_weights[..., None, None], source, state.top.shape[1])
        state.merge_(part)
    return _merged(state, rough, way, precision, own, ranks)


def _compute_anew(half: Tensor, anew: Tensor, way: Distances, gamma: Tensor, nearest: Tensor, start: int) -> None:
    """Distances of the images that weigh so much that their rounding would show, in place; `anew` tells which."""
    behind = gamma * (half - nearest)  # in log-weight
    error = way.log_weight_error(gamma[:, 0], nearest[:, 0])[:, None]
    heavy = behind < (error / HARMLESS).log() + 2 * error
    weights = torch.exp(-behind.clamp_min(0)) * heavy
    crowded = weights.sum(1).square() > MANY * weights.square().sum(1)
    for query in (heavy.any(1) & ~crowded).nonzero()[:, 0].tolist():
        which = heavy[query].nonzero()[:, 0]
        if len(which) > FEW:
            which = which[behind[query, which].topk(FEW, largest=False).indices]
        half[query, which] = way.exactly(query, start + which)
        anew[query, which] = True


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
    error = -ranks.least(-way.log_weight_error(precision, own[:, 0] - m / precision.clamp_min(1e-300)))
    moved = error * torch.minimum(rough.sqrt(), s - 1).clamp_min(0) / s
    return whole, moved / whole.mean().square().flatten(1).mean(1).sqrt().clamp_min(1e-3)
