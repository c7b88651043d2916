"""Softmax over images seen through soft windows, in which a pixel may count fully, partly or not at all.

    l_j(p) = -gamma/2 sum_o w(o) E_j(p + o),        E_j = sum_c (y - phi_j)²        phi_j laid on the pixel p

At one position, each pixel may have a window of its own, W_p(q) = w_p(q - p) of any shape: all log-weights are then one matrix
product a block, W E. At any position (ELS, bbELS) the window is the same for all pixels, and E is summed offset by offset.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float64, Int64, Shaped
from torch import Tensor
from torch.nn import functional

from patchmosaic.engine.belief import TracedSum, traced, traced_footprint
from patchmosaic.engine.box_sums import box_sum_posteriors
from patchmosaic.engine.distributed import ALONE, Ranks
from patchmosaic.engine.matching import Rule
from patchmosaic.engine.memory import WIDEST, Footprint, StoredImages, block_numbers, pool_blocks
from patchmosaic.engine.posterior import Empty, PosteriorSum
from patchmosaic.engine.precision import exact, float32_products, log_weight_error

AT_ONCE = 256  # windows of one matrix product, so that their log-weights stay in the cache


def window_posterior(
    queries: Float64[Tensor, "B C H W"],
    precision: Float64[Tensor, " B"],
    images: StoredImages,
    index: Int64[Tensor, " n"] | None,
    windows: Shaped[Tensor, "windows pixels"],
    value_size: tuple[int, int],
    dtype: torch.dtype,
    memory_budget: int,
    ranks: Ranks = ALONE,
    empty: Empty = PosteriorSum.empty,
) -> PosteriorSum:
    """The posterior of each query, seen through each window, over the images (at `index`) seen through the same.

    Args:
        windows: W, how much each of the H W pixels counts in each window, from 0 up: numbers, or booleans.
        value_size: (h, w), what a window returns: the h x w patch whose upper left corner has the window's number. There are
            (H - h + 1) (W - w + 1) such corners, and as many windows; with (1, 1), one a pixel, which it returns.
        dtype: float32, with float64 where that is not enough, or float64.
        ranks: those whose posteriors are merged; whether float32 is enough shows in the whole only.
        empty: the state to fill.

    Returns:
        m, s: (B, H - h + 1, W - w + 1), v: (B, C h w, H - h + 1, W - w + 1), the patches as `torch.nn.functional.fold` wants
        them.

    Raises:
        MemoryBudgetError: `memory_budget` bytes do not hold one image against one query.
    """
    heaviest = float(windows.max())

    def one_pass(
        queries: Tensor, precision: Tensor, dtype: torch.dtype, answers: Sequence[int]
    ) -> tuple[list[PosteriorSum], list[Tensor]]:
        queries = queries.to(dtype)
        state = ranks.merge(_one_pass(queries, precision, images, index, windows, value_size, memory_budget, empty))
        return [state], [state.rounding_error(log_weight_error(state, queries, precision, heaviest))]

    return exact(one_pass, 1, queries, precision, dtype)[0]


def window_footprint(image_shape: Sequence[int], value_size: tuple[int, int] = (1, 1)) -> Footprint:
    """Bytes that `window_posterior` needs beside its windows."""
    channels, height, width = image_shape
    pixels, windows = height * width, (height - value_size[0] + 1) * (width - value_size[1] + 1)
    values = channels * math.prod(value_size) * windows
    at_once = min(windows, AT_ONCE + width)  # in whole rows
    return Footprint(
        pair=WIDEST * (pixels * (channels + 1) + 3 * at_once),  # squared differences, their sum; log-weights, weights
        query=WIDEST * (2 * pixels * channels + 5 * values),
        image=WIDEST * (3 * pixels * channels + 2 * values),
    )


@float32_products()
def _one_pass(
    queries: Tensor,
    precision: Tensor,
    images: Tensor,
    index: Tensor | None,
    windows: Tensor,
    value_size: tuple[int, int],
    memory_budget: int,
    empty: Empty = PosteriorSum.empty,
) -> PosteriorSum:
    channels, height, width = queries.shape[1:]
    rows, columns = height - value_size[0] + 1, width - value_size[1] + 1
    value_shape = (channels * math.prod(value_size), rows, columns)
    whole = empty(len(queries), value_shape, True, queries.device)
    count = len(images) if index is None else len(index)
    footprint = window_footprint(queries.shape[1:], value_size)
    if isinstance(whole, TracedSum):
        footprint = traced_footprint(footprint, queries.shape[1:], whole.top.shape[1])
    block_size = footprint.images_at_once(len(queries), count, memory_budget, queries.device)
    scale = -0.5 * precision.to(queries.dtype)[:, None, None]
    floor = math.log(torch.finfo(queries.dtype).tiny)  # as in `box_sums`: below the smallest normal number exp is slow
    each = torch.arange(columns, device=queries.device)
    places = torch.arange(rows * columns, device=queries.device).view(rows, columns)
    for number, block in enumerate(pool_blocks(images, index, block_size, queries.dtype)):
        energy = (block.flatten(2) - queries.flatten(2)[:, None]).square_().sum(2)  # (b, n, pixels)
        energy *= scale
        values = functional.unfold(block, value_size).unflatten(2, (rows, columns))  # (n, C h w, rows, columns)
        for some in torch.arange(rows, device=queries.device).split(max(1, AT_ONCE // columns)):
            seen = windows.unflatten(0, (rows, columns))[some].flatten(0, 1).to(energy.dtype)  # (k, pixels)
            log_weights = (energy @ seen.T).unflatten(2, (len(some), columns))  # (b, n, rows, columns)
            m = log_weights.amax(1)
            weights = (log_weights - m[:, None]).clamp_min_(floor).exp_()
            v = torch.stack([(weights * value).sum(1) for value in values[:, :, some].unbind(1)], 1)
            part = PosteriorSum(m.double(), weights.sum(1).double(), v.double())
            if isinstance(whole, TracedSum):
                images_of = block_numbers(index, number * block_size, block)
                source = images_of[:, None, None] * height * width + places[some]
                part = traced(part, log_weights, source, whole.top.shape[1])
            whole.merge_(part, some, each)
    return whole


def placed(window: Float64[Tensor, "P P"], height: int, width: int) -> Float64[Tensor, "pixels pixels"]:
    """The windows of `window_posterior` that lay one window of odd size round each pixel, cut at the border."""
    framed = functional.pad(window, (1, 1, 1, 1))  # what is farther away than the window reaches finds a zero
    down, across = (
        (torch.arange(side) - torch.arange(side)[:, None] + len(window) // 2 + 1).clamp(0, len(window) + 1).to(window.device)
        for side in (height, width)
    )
    return framed[down[:, None, :, None], across[None, :, None, :]].reshape(height * width, -1)


def patches(patch_size: tuple[int, int], height: int, width: int) -> Bool[Tensor, "windows pixels"]:
    """The windows of `window_posterior` that are the h x w patches inside the image, numbered as those it returns."""
    down, across = (
        (offset >= 0) & (offset < size)
        for size, side in zip(patch_size, (height, width), strict=True)
        for offset in [torch.arange(side) - torch.arange(side - size + 1)[:, None]]
    )
    return (down[:, None, :, None] & across[None, :, None, :]).reshape(-1, height * width)


def soft_patch_posterior(
    queries: Float64[Tensor, "B C H W"],
    precision: Float64[Tensor, " B"],
    images: StoredImages,
    index: Int64[Tensor, " n"] | None,
    rule: Rule,
    window: Float64[Tensor, "P P"],
    dtype: torch.dtype,
    memory_budget: int,
    ranks: Ranks = ALONE,
    empty: Empty = PosteriorSum.empty,
) -> PosteriorSum:
    """`patches.patch_posteriors` with a window that weighs its offsets: the posterior of every pixel over patch centres.

    Args:
        window: w, of odd size, from 0 up; under a rule of the torus no larger than the image.

    Other arguments and errors as there.
    """

    def one_pass(
        queries: Tensor, precision: Tensor, dtype: torch.dtype, answers: Sequence[int]
    ) -> tuple[list[PosteriorSum], list[Tensor]]:
        queries = queries.to(dtype)
        sums = box_sum_posteriors(queries, precision, images, index, rule, (len(window),), memory_budget, window, empty)
        state = ranks.merge(sums[0])
        return [state], [state.rounding_error(log_weight_error(state, queries, precision, float(window.max())))]

    return exact(one_pass, 1, queries, precision, dtype)[0]
