"""Softmax over patches, for every pixel and every patch size at once, without ever unfolding a patch.

For a displacement d between a pixel p of the query and the position q = p + d of a training patch,

    E_d(q) = sum_c (y(q - d) - phi(q))²,        ‖window of y at p - window of phi at q‖² = box sum of E_d round q,

so one image of squared differences serves all pixels and all patch sizes. A box sum is a product with a 0/1 band matrix on
either side, R E_d C': what lies outside an image (nothing, or the other side of the torus) is a matter of the band alone.

Which positions q a pixel may match is separable: a rule for rows times the same rule for columns. The machines differ only
in that rule, and the three rules are the three functions `same_position`, `same_border` and `anywhere`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from patchmosaic.engine.memory import WIDEST, BlockPlan, plan_blocks, pool_blocks
from patchmosaic.engine.posterior import FLOAT32_ROUNDOFF, PosteriorSum
from patchmosaic.engine.precision import exact


@dataclass(frozen=True)
class Match:
    """The pixels that one patch size can match under one shift of one axis: pairs of a query row p and a training row q."""

    band: Float[Tensor, "o h"]  # 0/1: which of the shift's h pool rows the window round each of `centre` sees
    centre: slice  # o training rows that hold all q; between them there may be rows without a pair
    kept: Int64[Tensor, " k"]  # which of `centre` are a q
    query: Int64[Tensor, " k"]  # the p of each


@dataclass(frozen=True)
class Shift:
    """One displacement along one axis: the query's rows `seen` are laid on the training image's rows `pool`."""

    seen: Int64[Tensor, " h"]
    pool: slice
    matches: tuple[Match | None, ...]  # one a patch size; None where that size has no pair under this shift


# (query rows p, training rows q, radius) -> which of the pairs may match.
Rule = Callable[[Tensor, Tensor, int], Tensor]


def same_position(side: int, patch_sizes: Sequence[int]) -> list[Shift]:
    """A pixel matches its own position only; windows are cut at the border."""
    return _shifts(side, patch_sizes, lambda p, q, radius: p == q)


def same_border(side: int, patch_sizes: Sequence[int]) -> list[Shift]:
    """A pixel whose window lies inside matches all such pixels; any other matches its own position only."""
    return _shifts(side, patch_sizes, lambda p, q, r: (p == q) | (_inside(p, side, r) & _inside(q, side, r)))


def anywhere(side: int, patch_sizes: Sequence[int], wrap_training: bool) -> list[Shift]:
    """A pixel matches every position; the query wraps round, and so do the training patches if `wrap_training`."""
    if wrap_training:
        return _shifts(side, patch_sizes, lambda p, q, radius: torch.ones_like(q, dtype=torch.bool), torus=True)
    return _shifts(side, patch_sizes, lambda p, q, radius: _inside(q, side, radius))


def _inside(rows: Tensor, side: int, radius: int) -> Tensor:
    return (rows >= radius) & (rows < side - radius)


def _shifts(side: int, patch_sizes: Sequence[int], rule: Rule, torus: bool = False) -> list[Shift]:
    """Every cyclic displacement under which `rule` admits a pair, cropped to the rows that some window sees."""
    rows = torch.arange(side)
    shifts = []
    for d in range(side):
        query = (rows - d) % side
        admitted = [rule(query, rows, size // 2).nonzero()[:, 0] for size in patch_sizes]
        reach = [
            (int(q[0]) - size // 2, int(q[-1]) + size // 2) for q, size in zip(admitted, patch_sizes, strict=True) if len(q)
        ]
        if not reach:
            continue
        low, high = max(0, min(r[0] for r in reach)), min(side, max(r[1] for r in reach) + 1)
        pool = rows if torus else rows[low:high]
        matches = tuple(
            _match(q, query, pool, size // 2, side if torus else None) for q, size in zip(admitted, patch_sizes, strict=True)
        )
        shifts.append(Shift(query[pool], slice(int(pool[0]), int(pool[-1]) + 1), matches))
    return shifts


def _match(q: Tensor, query: Tensor, pool: Tensor, radius: int, period: int | None) -> Match | None:
    if len(q) == 0:
        return None
    first, last = int(q[0]), int(q[-1])
    distance = (torch.arange(first, last + 1)[:, None] - pool).abs()
    if period is not None:  # on a torus a row is seen once, however large the window
        distance = torch.minimum(distance, period - distance)
    return Match((distance <= radius).float(), slice(first, last + 1), q - first, query[q])


def patch_posteriors(
    queries: Float64[Tensor, "B C H W"],
    precision: Float64[Tensor, " B"],
    images: Float[Tensor, "N C H W"],
    index: Int64[Tensor, " n"] | None,
    rows: Sequence[Shift],
    columns: Sequence[Shift],
    dtype: torch.dtype,
    memory_budget: int,
) -> list[PosteriorSum]:
    """For each patch size of `rows` and `columns`, the posterior of every pixel over the centres of its patches.

    Args:
        precision: gamma of each query; the log-weight of a patch is -gamma/2 times its squared distance.
        index: the images of the pool that count; None for all.
        dtype: float32, with float64 where that is not enough, or float64.
        rows, columns: shifts made by one of the rules above for the same patch sizes.

    Raises:
        MemoryBudgetError: `memory_budget` bytes do not hold one image against one query.
    """
    rows, columns = _on_device(rows, queries), _on_device(columns, queries)

    def one_pass(queries: Tensor, precision: Tensor) -> tuple[list[PosteriorSum], list[Tensor]]:
        plan = _plan(queries, len(images) if index is None else len(index), len(rows[0].matches), memory_budget)
        parts = []
        for start in range(0, len(queries), plan.samples):
            chosen = slice(start, start + plan.samples)
            states = [
                PosteriorSum.empty(len(queries[chosen]), tuple(queries.shape[1:]), per_pixel=True, device=queries.device)
                for _ in rows[0].matches
            ]
            for block in pool_blocks(images, index, plan.candidates, queries.dtype):
                _add_block(states, queries[chosen], precision[chosen].to(queries.dtype), block, rows, columns)
            parts.append(states)
        sums = [_concatenated([states[k] for states in parts]) for k in range(len(rows[0].matches))]
        return sums, [_log_weight_error(state, queries, precision) for state in sums]

    return exact(one_pass, queries, precision, dtype)


def _add_block(
    states: list[PosteriorSum],
    queries: Tensor,
    gamma: Tensor,
    block: Tensor,
    rows: Sequence[Shift],
    columns: Sequence[Shift],
) -> None:
    """Add every patch of a block of images to the states, one displacement after another."""
    # In powers of two: exp2 is four times as fast as exp here. Below the smallest normal number it is ten times slower than
    # above, so weights are floored there: a billion candidates at the floor together weigh 1e-29 of the largest.
    scale = -0.5 / math.log(2) * gamma[:, None, None, None]
    floor = math.log2(torch.finfo(block.dtype).tiny)
    for down in rows:
        bands = [None if match is None else match.band.to(block.dtype) for match in down.matches]
        for across in columns:
            seen = queries[:, None, :, down.seen[:, None], across.seen]  # (b, 1, C, h, w)
            energy = (block[:, :, down.pool, across.pool] - seen).square_()  # (b, n, C, h, w)
            energy = energy.sum(2) if energy.shape[2] > 1 else energy.squeeze(2)  # (b, n, h, w)
            energy *= scale
            for state, band, row, column in zip(states, bands, down.matches, across.matches, strict=True):
                if row is None or column is None or band is None:
                    continue
                log_weights = band @ (energy @ column.band.to(block.dtype).T)  # (b, n, o, o')
                m = log_weights.amax(1)
                weights = log_weights.sub_(m[:, None]).clamp_min_(floor).exp2_()
                values = [(weights * block[:, channel, row.centre, column.centre]).sum(1) for channel in range(block.shape[1])]
                part = PosteriorSum(m.double() * math.log(2), weights.sum(1).double(), torch.stack(values, 1).double())
                state.merge_(part.pixels(row.kept, column.kept), row.query, column.query)


def _log_weight_error(state: PosteriorSum, queries: Tensor, precision: Tensor) -> Tensor:
    """Rounding error of the log-weights near the maximum: of the sum itself, and of y - phi before it is squared."""
    size = state.m.abs()
    gamma = precision.double()[:, None, None]
    largest = queries.double().square().mean((1, 2, 3)).sqrt().clamp_min(1.0)[:, None, None]
    return FLOAT32_ROUNDOFF * (size + largest * (2 * size * gamma).sqrt())


def _plan(queries: Tensor, candidates: int, patch_sizes: int, memory_budget: int) -> BlockPlan:
    channels, height, width = queries.shape[1:]
    pixels = height * width
    return plan_blocks(
        len(queries),
        candidates,
        pair_bytes=WIDEST * pixels * (channels + 4),  # squared differences, their sum, two products, one more for values
        sample_bytes=WIDEST * pixels * (channels + 2) * (patch_sizes + 3),
        image_bytes=WIDEST * pixels * channels,
        budget=memory_budget,
        device=queries.device,
    )


def _concatenated(parts: list[PosteriorSum]) -> PosteriorSum:
    return PosteriorSum(*(torch.cat([getattr(part, name) for part in parts]) for name in ("m", "s", "v")))


def _on_device(shifts: Sequence[Shift], like: Tensor) -> list[Shift]:
    def moved(match: Match | None) -> Match | None:
        if match is None:
            return None
        return Match(match.band.to(like.device), match.centre, match.kept.to(like.device), match.query.to(like.device))

    return [Shift(s.seen.to(like.device), s.pool, tuple(moved(match) for match in s.matches)) for s in shifts]
