"""Softmax over patches, for every pixel and every patch size at once, without ever unfolding a patch.

For a displacement d between a pixel p of the query and the position q = p + d of a training patch,

    E_d(q) = sum_c (y(q - d) - phi(q))²,        ‖window of y at p - window of phi at q‖² = box sum of E_d round q,

so one image of squared differences serves all pixels and all patch sizes, and a box sum costs a few additions whatever the
patch size: sums of 2, 4, 8 ... neighbours by doubling, rows first and columns after. Nothing is subtracted again, so nothing
cancels. Training images are the innermost dimension: every addition is then a long contiguous one.

Which positions q a pixel may match, and what its window sees beyond the border, is all that the machines differ in: `matching`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from patchmosaic.engine.belief import TracedSum, of_images, traced, traced_footprint
from patchmosaic.engine.matching import AxisRule, Match, Shift, shifts
from patchmosaic.engine.memory import WIDEST, Footprint, StoredImages, block_numbers, pool_blocks
from patchmosaic.engine.posterior import Empty, PosteriorSum
from patchmosaic.engine.precision import float32_products


@float32_products()
def box_sum_posteriors(
    queries: Float[Tensor, "B C H W"],
    precision: Float[Tensor, " B"],
    images: StoredImages,
    index: Int64[Tensor, " n"] | None,
    rule: AxisRule,
    patch_sizes: tuple[int, ...],
    memory_budget: int,
    window: Float64[Tensor, "P P"] | None = None,
    empty: Empty = PosteriorSum.empty,
    column_rule: AxisRule | None = None,
    squares: bool = False,
) -> list[PosteriorSum]:
    """For each patch size, the posterior of every pixel over the centres of its patches, in the dtype of `queries`.

    Args:
        rule: which rows a row may match, and which columns a column.
        window: how much each offset counts, where not all count alike; then P is the only patch size.
        empty: the state to fill.
        column_rule: the rule of columns, where it is not that of rows.
        squares: whether a last channel holds the sum of the squares of the others, for `PosteriorSum.read_off`.

    Raises:
        MemoryBudgetError: `memory_budget` bytes do not hold one image against one query.
    """
    shape, device = queries.shape[1:], queries.device
    rows, columns = (
        [shift.to(device) for shift in shifts(axis_rule, side, patch_sizes)]
        for axis_rule, side in zip((rule, column_rule or rule), shape[1:], strict=True)
    )
    states = [empty(len(queries), (shape[0] + squares, *shape[1:]), True, device) for _ in patch_sizes]
    count = len(images) if index is None else len(index)
    footprint = box_sum_footprint(shape, len(states), 0 if window is None else len(window))
    if isinstance(states[0], TracedSum):
        footprint = traced_footprint(footprint, shape, states[0].top.shape[1])
    block_size = footprint.images_at_once(len(queries), count, memory_budget, device)
    weights = None if window is None else window.tolist()
    for number, block in enumerate(pool_blocks(images, index, block_size, queries.dtype)):
        images_of = block_numbers(index, number * block_size, block)
        _add_block(states, queries, precision.to(queries.dtype), block, images_of, rows, columns, weights)
    return states


def box_sum_footprint(image_shape: Sequence[int], patch_sizes: int, window: int = 0) -> Footprint:
    """Bytes that `box_sum_posteriors` needs for so many patch sizes, or for a soft window of that size."""
    channels, height, width = image_shape
    pixels = height * width
    padded = math.prod(side + 2 * min(window // 2, side - 1) for side in (height, width)) if window else 0
    return Footprint(
        # Squared differences, their sum, box sums on the way, weights.
        pair=WIDEST * (pixels * (channels + 5) + padded),
        query=WIDEST * pixels * (channels + 3) * (patch_sizes + 3),
        image=WIDEST * pixels * (3 * channels + 1),
    )


def _add_block(
    states: list[PosteriorSum],
    queries: Tensor,
    gamma: Tensor,
    block: Tensor,
    images_of: Tensor,
    rows: Sequence[Shift],
    columns: Sequence[Shift],
    window: list[list[float]] | None,
) -> None:
    """Add every patch of a block of images to the states, one displacement after another."""
    # In powers of two: exp2 is four times as fast as exp here. Below the smallest normal number it is ten times slower than
    # above, so weights are floored there: a billion candidates at the floor together weigh 1e-29 of the largest.
    scale = -0.5 / math.log(2) * gamma[:, None, None, None]
    floor = math.log2(torch.finfo(block.dtype).tiny)
    block = block.flatten(1).T.contiguous().view(*block.shape[1:], -1)  # (C, H, W, n); a matrix is transposed faster
    # What is averaged: pixels, and where a state has a channel for them the sums of their squares.
    values = torch.cat([block, block.square().sum(0, keepdim=True)]) if states[0].v.shape[1] > len(block) else block
    traces = {place: _BlockTrace(state, block, images_of) for place, state in enumerate(states) if isinstance(state, TracedSum)}
    for down in rows:
        for across in columns:
            if not any(row and column for row, column in zip(down.matches, across.matches, strict=True)):
                continue
            seen = queries[:, :, down.seen[:, None], across.seen, None]  # (b, C, h, w, 1)
            energy = _squared_differences(seen, block[:, down.pool, across.pool]).mul_(scale)  # (b, h, w, n)
            for place, (state, row, column) in enumerate(zip(states, down.matches, across.matches, strict=True)):
                if row is None or column is None:
                    continue
                log_weights = (  # (b, o, o', n)
                    _box_sum(_box_sum(energy, 1, row), 2, column) if window is None else _soft_sum(energy, row, column, window)
                )
                m = log_weights.amax(-1)
                weights = (log_weights - m[..., None]).clamp_min_(floor).exp2_()
                centres = values[:, row.centre, column.centre]  # (C, o, o', n)
                v = torch.einsum("bhwn,chwn->bchw", weights, centres)
                part = PosteriorSum(m.double() * math.log(2), weights.sum(-1).double(), v.double())
                part = part.pixels(row.kept, column.kept)
                if place in traces:
                    part = traces[place].part(part, log_weights, row, column)
                state.merge_(part, row.query, column.query)
    for trace in traces.values():
        trace.close()


def _squared_differences(seen: Tensor, pool: Tensor) -> Tensor:
    """Of queries (b, C, h, w, 1) and images (C, h, w, n), summed over channels, of which only one has a temporary at a time."""
    total = (pool[0] - seen[:, 0]).square_()
    for channel in range(1, len(pool)):
        difference = pool[channel] - seen[:, channel]
        total.addcmul_(difference, difference)
    return total


class _BlockTrace:
    """A block's part of a traced state: what the patches of an image weigh together shows when all displacements are done."""

    def __init__(self, state: TracedSum, block: Tensor, images_of: Tensor) -> None:
        self.state, self.images_of = state, images_of
        self.pixels = block.shape[1:3]
        shape = (len(state.m), len(images_of), *self.pixels)
        self.images = torch.full(shape, -math.inf, dtype=torch.float64, device=block.device)  # log-weights

    def part(self, part: PosteriorSum, log_weights: Tensor, row: Match, column: Match) -> TracedSum:
        """The part of one displacement, of log-weights (b, o, o', n) in powers of two."""
        nats = log_weights[:, row.kept[:, None], column.kept].movedim(-1, 1).double() * math.log(2)  # (b, n, k, k')
        here = (..., row.query[:, None], column.query)
        self.images[here] = torch.logaddexp(self.images[here], nats)
        place = (row.centre.start + row.kept)[:, None] * self.pixels[1] + column.centre.start + column.kept
        source = self.images_of[:, None, None] * math.prod(self.pixels) + place
        return traced(part, nats, source, self.state.top.shape[1], torch.zeros_like(part.m))

    def close(self) -> None:
        """Tell the state what each image weighed."""
        self.state.image_squares += of_images(self.images, self.state.m).nan_to_num(0.0)


def _box_sum(energy: Tensor, axis: int, match: Match) -> Tensor:
    """Sums over the windows of `match` along one axis."""
    if match.torus and 2 * match.radius + 1 >= energy.shape[axis]:
        return energy.sum(axis, keepdim=True).expand_as(energy)  # on a torus a row is seen once, however large the window
    return _sliding_sum(_seen(energy, axis, match), axis, 2 * match.radius + 1)


def _soft_sum(energy: Tensor, row: Match, column: Match, window: list[list[float]]) -> Tensor:
    """Sums over the windows of `row` and `column` in which each offset has its weight."""
    energy = _seen(_seen(energy, 1, row), 2, column)
    height, width = energy.shape[1] - 2 * row.radius, energy.shape[2] - 2 * column.radius
    down, across = len(window) // 2 - row.radius, len(window) // 2 - column.radius  # what never meets the image
    total = energy.new_zeros(len(energy), height, width, energy.shape[3])
    for i in range(2 * row.radius + 1):
        for j in range(2 * column.radius + 1):
            if window[down + i][across + j]:
                total.add_(energy[:, i : i + height, j : j + width], alpha=window[down + i][across + j])
    return total


def _seen(energy: Tensor, axis: int, match: Match) -> Tensor:
    """What the windows of `match` see along one axis, the border included."""
    energy = energy.narrow(axis, match.seen.start, match.seen.stop - match.seen.start)
    before, after = match.beyond
    if match.torus:
        end = energy.narrow(axis, energy.shape[axis] - before, before)
        return torch.cat([end, energy, energy.narrow(axis, 0, after)], axis)
    if before or after:
        return F.pad(energy, (*(0, 0) * (energy.ndim - 1 - axis), before, after))
    return energy


def _sliding_sum(terms: Tensor, axis: int, length: int) -> Tensor:
    """Sums of `length` neighbours, from sums of 1, 2, 4 ... neighbours: as many as `length` has binary digits."""
    count = terms.shape[axis] - length + 1
    total: Tensor | None = None
    offset, span = 0, 1
    while True:
        if length & span:
            part = terms.narrow(axis, offset, count)
            total = part if total is None else total + part
            offset += span
        if 2 * span > length:
            assert total is not None
            return total
        shorter = terms.shape[axis] - span
        terms = terms.narrow(axis, 0, shorter) + terms.narrow(axis, span, shorter)
        span *= 2
