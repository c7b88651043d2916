"""Softmax over patches on a GPU: `box_sums` with a query in the registers of a program, and one pass over the pool.

As there, an image of squared differences serves all pixels for one displacement d; here it is laid out by the query's pixel p:

    E_d(p) = sum_c (y(p) - phi(p + d))²,        ‖window of y at p - window of phi at p + d‖² = box sum of E_d round p

A program takes one query and some images. Image by image and displacement by displacement it forms E_d of all pixels, adds up
neighbours along columns and along rows (sums of 2, 4, 8 ... of them, handed from lane to lane: nothing is subtracted again, so
nothing cancels), and adds one candidate to the running softmax (m, s, v) of every pixel. Nothing leaves the registers but that
state, at the end. The states of the programs are merged in float64.

Positions are taken on the torus throughout. Where a rule's windows end at the border the box sums end there, and a candidate
that the rule does not admit has the log-weight -inf: rules are separable, so that this is a sum of one table for rows and one
for columns.

References:
    Dao et al. 2022, arXiv 2205.14135: a softmax whose log-weights never leave the chip.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import no_type_check

import torch
import triton
import triton.language as tl
from jaxtyping import Float, Int32, Int64
from torch import Tensor

from patchmosaic.engine.box_sums import box_sum_footprint, box_sum_posteriors
from patchmosaic.engine.matching import Rule, shifts
from patchmosaic.engine.memory import WIDEST, Footprint, StoredImages, pool_blocks
from patchmosaic.engine.posterior import PosteriorSum

if tuple(int(part) for part in triton.__version__.split(".")[:2]) < (3, 5):
    raise ImportError(f"the patch kernel needs Triton 3.5 or newer, got {triton.__version__}")

LARGEST_SIDE = 64  # the state of more than 64 x 64 pixels does not fit the registers of a program
PIXELS_A_WARP = 256  # 8 a lane: with 16 registers run out, and with 4 less is shared of what a displacement costs
PROGRAMS = 4096  # enough to keep a GPU busy to the end, and few enough for their states to stay small

_NOTHING_YET = tl.constexpr(-1e38)  # below every log-weight, but finite: -inf - -inf would be NaN


def triton_patch_posteriors(
    queries: Float[Tensor, "B C H W"],
    precision: Float[Tensor, " B"],
    images: StoredImages,
    index: Int64[Tensor, " n"] | None,
    rule: Rule,
    patch_sizes: tuple[int, ...],
    memory_budget: int,
) -> list[PosteriorSum]:
    """For each patch size, the posterior of every pixel over the centres of its patches, in the dtype of `queries`.

    Images larger than 64 x 64 are left to `box_sum_posteriors`.

    Raises:
        MemoryBudgetError: `memory_budget` bytes do not hold one image against one query.
    """
    shape, device, batch = queries.shape[1:], queries.device, len(queries)
    if max(shape[1:]) > LARGEST_SIDE:
        return box_sum_posteriors(queries, precision, images, index, rule, patch_sizes, memory_budget)
    queries = queries.contiguous()
    scale = (-0.5 / math.log(2) * precision.double()).to(queries.dtype)  # in powers of two: exp2 is one instruction
    axes = [[_Axis.of(rule, side, size, queries) for side in shape[1:]] for size in patch_sizes]
    states = [PosteriorSum.empty(batch, shape, per_pixel=True, device=device) for _ in patch_sizes]
    count = len(images) if index is None else len(index)
    block_size = triton_footprint(shape, len(states)).images_at_once(batch, count, memory_budget, device)
    for block in pool_blocks(images, index, block_size, queries.dtype):
        for state, (rows, columns) in zip(states, axes, strict=True):
            state.merge_(_block_posterior(queries, scale, block, rows, columns))
    return states


def triton_footprint(image_shape: Sequence[int], patch_sizes: int) -> Footprint:
    """Bytes that `triton_patch_posteriors` needs for so many patch sizes."""
    channels, height, width = image_shape
    if max(height, width) > LARGEST_SIDE:
        return box_sum_footprint(image_shape, patch_sizes)
    state = WIDEST * (channels + 2) * height * width
    return Footprint(
        pair=2 * state,  # at the worst every program has one image: its state, and the merge
        query=state * (patch_sizes + 3),
        image=WIDEST * channels * (height * width + (_tile(height) + height) * (_tile(width) + width)),  # and unrolled
    )


@dataclass(frozen=True)
class _Axis:
    """What a rule says of one axis, for one patch size."""

    torus: bool  # beyond the border a window goes on at the other end; else it ends
    ahead: int  # neighbours that a pixel's window sees after it, and before it
    behind: int
    displacements: Int32[Tensor, " d"]  # q - p modulo the side, of the pairs that are admitted
    admitted: Float[Tensor, "d side"]  # by displacement and p: log-weight 0, or -inf where the pair is not admitted
    unrolled: Int64[Tensor, " u"]  # the rows of an image in which every displaced row is found without going round

    @classmethod
    def of(cls, rule: Rule, side: int, patch_size: int, queries: Tensor) -> _Axis:
        torus = rule in ("anywhere", "anywhere inside")
        # On a torus a row is seen once, however large the window.
        most = (side // 2, (side - 1) // 2) if torus else (side - 1, side - 1)
        ahead, behind = (min(patch_size // 2, limit) for limit in most)
        matches = [match for shift in shifts(rule, side, (patch_size,)) for match in shift.matches if match is not None]
        steps = [(match.centre.start + int(match.kept[0] - match.query[0])) % side for match in matches]
        admitted = torch.full((len(matches), side), -math.inf, dtype=queries.dtype)
        for log_weights, match in zip(admitted, matches, strict=True):
            log_weights[match.query] = 0
        displacements = torch.tensor(steps, dtype=torch.int32, device=queries.device)
        unrolled = torch.arange(_tile(side) + max(steps), device=queries.device) % side
        return cls(torus, ahead, behind, displacements, admitted.to(queries.device), unrolled)


def _tile(side: int) -> int:
    """The side of a tile of registers."""
    return 1 << (side - 1).bit_length()


def _block_posterior(queries: Tensor, scale: Tensor, block: Tensor, rows: _Axis, columns: _Axis) -> PosteriorSum:
    """The posterior of every pixel over a block of images."""
    batch, channels, height, width = queries.shape
    images_each = triton.cdiv(len(block) * batch, PROGRAMS)
    programs = triton.cdiv(len(block), images_each)
    m = queries.new_empty(programs, batch, height, width)
    s, v = torch.empty_like(m), queries.new_empty(programs, *queries.shape)
    with torch.cuda.device_of(queries):
        _softmax_kernel[batch, programs](
            queries,
            scale,
            block[:, :, rows.unrolled[:, None], columns.unrolled].contiguous(),
            rows.displacements,
            columns.displacements,
            rows.admitted,
            columns.admitted,
            m,
            s,
            v,
            len(block),
            images_each,
            len(rows.displacements),
            len(columns.displacements),
            CHANNELS=channels,
            HEIGHT=height,
            WIDTH=width,
            ROWS=_tile(height),
            COLUMNS=_tile(width),
            UNROLLED_ROWS=len(rows.unrolled),
            UNROLLED_COLUMNS=len(columns.unrolled),
            TORUS=rows.torus,
            BELOW=rows.ahead,
            ABOVE=rows.behind,
            RIGHT=columns.ahead,
            LEFT=columns.behind,
            num_warps=max(1, _tile(height) * _tile(width) // PIXELS_A_WARP),
            num_stages=1,  # nothing is copied ahead: from its first displacement on, an image is in the nearest cache
            enable_fp_fusion=True,
        )
    peaks = m.double()
    m = peaks.amax(0)
    weights = torch.exp2(peaks - m)
    s = (weights * s).sum(0)
    v = torch.stack([(weights * values).sum(0) for values in v.unbind(2)], 1)
    return PosteriorSum(m * math.log(2), s, v)


# What follows is not run by Python but translated by Triton, and so is kept from run-time type checks.


@triton.jit
@no_type_check
def _softmax_kernel(
    queries,  # (B, C, H, W)
    scale,  # (B,): squared distance times scale is the log-weight, base 2
    images,  # (n, C, UNROLLED_ROWS, UNROLLED_COLUMNS)
    downs,  # displacements of rows, and of columns
    acrosses,
    row_admitted,  # (downs, H), (acrosses, W)
    column_admitted,
    m_out,  # (programs, B, H, W)
    s_out,  # (programs, B, H, W)
    v_out,  # (programs, B, C, H, W)
    image_count,
    images_each,
    down_count,
    across_count,
    CHANNELS: tl.constexpr,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
    ROWS: tl.constexpr,  # of the tile: HEIGHT and WIDTH, filled up to powers of two
    COLUMNS: tl.constexpr,
    UNROLLED_ROWS: tl.constexpr,
    UNROLLED_COLUMNS: tl.constexpr,
    TORUS: tl.constexpr,
    BELOW: tl.constexpr,
    ABOVE: tl.constexpr,
    RIGHT: tl.constexpr,
    LEFT: tl.constexpr,
):
    PIXELS: tl.constexpr = HEIGHT * WIDTH
    UNROLLED: tl.constexpr = UNROLLED_ROWS * UNROLLED_COLUMNS
    sample, program = tl.program_id(0), tl.program_id(1)
    rows = tl.arange(0, ROWS)[:, None]
    # Said not to be aligned: a lane then loads one pixel, as the sums along rows want it, and not four in a row, which would
    # have to be handed to other lanes for every image.
    columns = tl.multiple_of(tl.arange(0, COLUMNS), 1)[None, :]
    here = rows * WIDTH + columns
    real = (rows < HEIGHT) & (columns < WIDTH)

    gamma = tl.load(scale + sample)
    y = ()
    v = ()
    for c in tl.static_range(CHANNELS):
        y += (tl.load(queries + (sample * CHANNELS + c) * PIXELS + here, mask=real, other=0.0),)
        v += (tl.zeros_like(y[c]),)
    s = tl.zeros_like(y[0])
    m = s + _NOTHING_YET

    first = program * images_each
    image = images + first.to(tl.int64) * (CHANNELS * UNROLLED)
    for _ in range(first, tl.minimum(first + images_each, image_count)):
        for i in range(down_count):
            row = image + (rows + tl.load(downs + i)) * UNROLLED_COLUMNS
            row_log_weight = tl.load(row_admitted + i * HEIGHT + rows, mask=rows < HEIGHT, other=0.0)
            for j in range(across_count):
                there = row + (columns + tl.load(acrosses + j))
                column_log_weight = tl.load(column_admitted + j * WIDTH + columns, mask=columns < WIDTH, other=0.0)
                phi = ()
                energy = tl.zeros_like(s)
                for c in tl.static_range(CHANNELS):
                    phi += (tl.load(there + c * UNROLLED),)
                    energy += (y[c] - phi[c]) * (y[c] - phi[c])
                energy = _box_sum(energy, 0, HEIGHT, BELOW, ABOVE, TORUS)
                energy = _box_sum(energy, 1, WIDTH, RIGHT, LEFT, TORUS)
                log_weight = energy * gamma + (row_log_weight + column_log_weight)
                peak = tl.maximum(m, log_weight)
                old, new = tl.exp2(m - peak), tl.exp2(log_weight - peak)
                m = peak
                s = s * old + new
                sums = ()
                for c in tl.static_range(CHANNELS):
                    sums += (v[c] * old + new * phi[c],)
                v = sums
        image += CHANNELS * UNROLLED

    state = program * tl.num_programs(0) + sample
    tl.store(m_out + state * PIXELS + here, m, mask=real)
    tl.store(s_out + state * PIXELS + here, s, mask=real)
    for c in tl.static_range(CHANNELS):
        tl.store(v_out + (state * CHANNELS + c) * PIXELS + here, v[c], mask=real)


@triton.jit
@no_type_check
def _box_sum(x, axis: tl.constexpr, side: tl.constexpr, ahead: tl.constexpr, behind: tl.constexpr, torus: tl.constexpr):
    """For every pixel the sum of itself, `ahead` neighbours after it and `behind` before it, along an axis."""
    total = x
    if ahead > 0:
        total += _shifted(_sum(x, ahead, 1, axis, side, torus), 1, axis, side, torus)
    if behind > 0:
        if torus:  # the sums that were made for the neighbours ahead serve again
            total += _shifted(_sum(x, behind, 1, axis, side, torus), -behind, axis, side, torus)
        else:
            total += _shifted(_sum(x, behind, -1, axis, side, torus), -1, axis, side, torus)
    return total


@triton.jit
@no_type_check
def _sum(x, terms: tl.constexpr, step: tl.constexpr, axis: tl.constexpr, side: tl.constexpr, torus: tl.constexpr):
    """x(p) + x(p + step) + x(p + 2 step) + ..., by halves."""
    total = x
    if terms > 1:
        half = _sum(x, terms // 2, step, axis, side, torus)
        total = half + _shifted(half, terms // 2 * step, axis, side, torus)
        if terms % 2 == 1:
            total += _shifted(x, (terms - 1) * step, axis, side, torus)
    return total


@triton.jit
@no_type_check
def _shifted(x, by: tl.constexpr, axis: tl.constexpr, side: tl.constexpr, torus: tl.constexpr):
    """x(p + by) at p. Beyond the border it goes on at the other end, or there is nothing."""
    source = tl.expand_dims(tl.arange(0, x.shape[axis]) + by, 1 - axis)
    inside = (source >= 0) & (source < side)
    shifted = tl.gather(x, tl.broadcast_to((source + side) % side, x.shape), axis)
    return shifted if torus else tl.where(inside, shifted, 0.0)
