"""Softmax over patches as attention, in plain torch: matrix products of rows of windows, and their sums along a diagonal.

With y_ax the row of P pixels round column x of row a of a query, and phi_bx' the same of a training image,

    R(a, x; b, x') = <y_ax, phi_bx'> - |phi_bx'|²/2 - |y_ax|²/2 = -|y_ax - phi_bx'|²/2,         a product of C P + 2 terms,

    l(p, x; q, x') = gamma · sum_i R(p + i, x; q + i, x'),                           the P rows i of the window: a diagonal.

All R of a query and of one column x' of many images are one matrix product; sums of 2, 4, 8 ... rows follow, in buffers that
are used again and again. Weights times centres is a matrix product too, as in attention. A pair costs C P multiply-adds
and a few additions, where windows that are unfolded whole cost C P².

Products cancel: they err by the roundoff of |y|² and |phi|², not of the distance. `read_off_products` tells how far that moves
the mean, from the variance of the centres, whose squares are therefore summed as one more channel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from patchmosaic.engine.matching import AxisRule
from patchmosaic.engine.memory import WIDEST, Footprint, StoredImages, pool_blocks
from patchmosaic.engine.posterior import FLOAT32_ROUNDOFF, PosteriorSum
from patchmosaic.engine.precision import float32_products


def attends(rule: AxisRule, image_shape: Sequence[int], patch_sizes: Sequence[int]) -> bool:
    """Whether these patches are served: all pixels that match any match the same ones, and no window sees a pixel twice."""
    return rule in ("anywhere", "anywhere inside", "inside") and max(patch_sizes) <= min(image_shape[1:])


@float32_products()
def attention_posteriors(
    queries: Float[Tensor, "B C H W"],
    precision: Float[Tensor, " B"],
    images: StoredImages,
    index: Int64[Tensor, " n"] | None,
    rule: AxisRule,
    patch_sizes: tuple[int, ...],
    memory_budget: int,
) -> list[PosteriorSum]:
    """For each patch size, the posterior of every pixel over the centres of its patches, in the dtype of `queries`.

    A last channel holds the sum of the squares of the others, for `read_off_products`. Arguments are those of
    `box_sum_posteriors`, for which `attends` holds.

    Raises:
        MemoryBudgetError: `memory_budget` bytes do not hold one image against one query.
    """
    channels, height, width = shape = queries.shape[1:]
    count = len(images) if index is None else len(index)
    block_size = attention_footprint(shape, patch_sizes, rule).images_at_once(1, count, memory_budget, queries.device)
    states = [PosteriorSum.empty(len(queries), (channels + 1, height, width), True, queries.device) for _ in patch_sizes]
    for state, size in zip(states, patch_sizes, strict=True):
        buffers = queries.new_empty(3, block_size * math.prod(_diagonals(height, width, size, rule)))
        beyond = size // 2 if rule == "inside" else 0
        rows, columns = (torch.arange(beyond, side - beyond) for side in (height, width))
        for place, (query, gamma) in enumerate(zip(queries, precision.tolist(), strict=True)):
            softmax = _Query(query, gamma, size, rule, buffers)
            for block in pool_blocks(images, index, block_size, queries.dtype):
                softmax.meet(block)
            here = slice(place, place + 1)
            state[here] = state[here].merge_(softmax.state(), rows, columns)
    return states


def attention_footprint(image_shape: Sequence[int], patch_sizes: Sequence[int], rule: AxisRule) -> Footprint:
    """Bytes that `attention_posteriors` needs."""
    channels, height, width = image_shape
    row = channels * max(patch_sizes) + 2
    return Footprint(
        pair=3 * WIDEST * max(math.prod(_diagonals(height, width, size, rule)) for size in patch_sizes),
        query=WIDEST * height * width * (3 * row + (channels + 2) * (len(patch_sizes) + 3)),
        image=WIDEST * height * width * (2 * row + 3 * (channels + 1)),
    )


def products_error(
    state: PosteriorSum, queries: Float[Tensor, "B C H W"], precision: Float[Tensor, " B"], patch_size: int
) -> Float64[Tensor, "B H W"]:
    """Rounding error of the log-weights near the maximum.

    Of a patch near the maximum it is known how far it is from the window of the query, so how large it can be. Rows of a
    window err independently.
    """
    queries, gamma = queries.double(), precision.double()[:, None, None]
    around = F.pad((queries - _mean(queries)).square().sum(1, keepdim=True), (patch_size // 2,) * 4, mode="circular")
    window = F.avg_pool2d(around, patch_size, stride=1).squeeze(1).mul_(patch_size**2).sqrt()  # |y|
    most = (1 + _mean(queries).abs()).square().sum(1).sqrt() * patch_size  # pixels lie in [-1, 1]
    patch = torch.minimum(window + (2 * state.m.abs() / gamma).sqrt(), most)
    return FLOAT32_ROUNDOFF * gamma * window * patch / math.sqrt(patch_size)


def read_off_products(
    state: PosteriorSum, queries: Float[Tensor, "B C H W"], precision: Float[Tensor, " B"], patch_size: int
) -> tuple[PosteriorSum, Float64[Tensor, " B"]]:
    """The posterior without its sum of squares, and the relative L2 error that rounding leaves in its mean."""
    return state.read_off(products_error(state, queries, precision, patch_size))


class _Query:
    """One query, and its running softmax over the patches that it met. Log-weights are in powers of two."""

    def __init__(self, query: Tensor, gamma: float, size: int, rule: AxisRule, buffers: Tensor) -> None:
        channels, height, width = query.shape
        self.origin = _mean(query)  # taken from all, so that products are small
        rows = _rows((query - self.origin)[None], size, rule != "inside")[:, :, 0].transpose(0, 1)  # (H, w, CP)
        scored = torch.cat([rows, torch.ones_like(rows[..., :1]), _half_norms(rows)], -1).mul_(gamma / math.log(2))
        # A likely patch is as far off as the noise is long: told from there, its log-weight is small, and so is its rounding.
        self.offset = 0.5 * rows.shape[-1] / math.log(2)
        scored[..., -1] += self.offset
        self.rows = scored.flatten(0, 1).T.contiguous()  # (K, Hw)
        self.size, self.wraps, self.buffers = size, rule == "anywhere", buffers
        self.diagonals = _, across, columns = _diagonals(height, width, size, rule)
        self.m = query.new_full((across - size + 1, columns), -math.inf)  # (h, w)
        self.sums = query.new_zeros((len(self.m), channels + 2, columns), dtype=torch.float64)

    def meet(self, block: Tensor) -> None:
        """Add the patches of some images."""
        rows = _rows(block - self.origin, self.size, self.wraps)
        keys = torch.cat([rows, _half_norms(rows), torch.ones_like(rows[..., :1])], -1)  # (x', H, n, K)
        radius = 0 if self.wraps else self.size // 2
        height, width = block.shape[2:]
        centres = block[:, :, radius : height - radius, radius : width - radius].permute(3, 1, 2, 0)  # (x', C, h', n)
        values = torch.cat([torch.ones_like(centres[:, :1]), centres, centres.square().sum(1, keepdim=True)], 1).flatten(2)
        floor = math.log2(torch.finfo(block.dtype).tiny)  # as in `box_sums`: exp2 is slow below
        for key, value in zip(keys, values, strict=True):
            log_weights = self._log_weights(key)  # (h'n, h, w)
            m = torch.maximum(self.m, log_weights.amax(0))
            weights = log_weights.sub_(m).clamp_min_(floor).exp2_()
            # One product of so few rows would hardly be shared among threads; one for each row of the query is.
            added = torch.bmm(value.expand(len(m), -1, -1), weights.transpose(0, 1))  # (h, C + 2, w)
            self.sums.mul_(torch.exp2(self.m - m)[:, None]).add_(added)
            self.m = m

    def _log_weights(self, key: Tensor) -> Tensor:
        """Of the patches round one column of some images, of whose rows `key` (H, n, K) tells."""
        height, images = key.shape[:2]
        below, across, columns = self.diagonals
        terms = self.buffers[0, : images * below * across * columns].view(below, images, across, columns)
        torch.mm(key.flatten(0, 1), self.rows, out=terms.view(below * images, -1)[: height * images, : self.rows.shape[1]])
        terms[:, :, height:] = terms[:, :, : across - height]
        terms[height:] = terms[: below - height]
        return _diagonal_sums(terms, self.size, self.buffers[1:]).flatten(0, 1)

    def state(self) -> PosteriorSum:
        """What the query's pixels have seen."""
        m = (self.m.double()[None] - self.size * self.offset) * math.log(2)
        return PosteriorSum(m, self.sums[None, :, 0], self.sums[None, :, 1:].transpose(1, 2))


def _diagonals(height: int, width: int, size: int, rule: AxisRule) -> tuple[int, int, int]:
    """Rows of an image, rows of a query and columns of a query that meet; on a torus a window's rows come round again."""
    more = size - 1
    return height + more * (rule == "anywhere"), height + more * (rule != "inside"), width - more * (rule == "inside")


def _rows(images: Tensor, size: int, wraps: bool) -> Tensor:
    """Rows of `size` pixels (x, H, n, CP) of images (n, C, H, W). On a torus they begin where the window at (0, 0) does."""
    if wraps:
        radius = size // 2
        images = F.pad(images, (radius, radius, 0, 0), mode="circular").roll(radius, 2)
    return images.unfold(3, size, 1).permute(3, 2, 0, 1, 4).flatten(3)


def _mean(images: Tensor) -> Tensor:
    return images.mean((-2, -1), keepdim=True)


def _half_norms(rows: Tensor) -> Tensor:
    return rows.square().sum(-1, keepdim=True).mul_(-0.5)


def _diagonal_sums(terms: Tensor, length: int, buffers: Tensor) -> Tensor:
    """Sums over i < `length` of terms[b + i, :, a + i], (B, n, A, x), from sums of half as many; `buffers` take turns."""
    total, span = terms, 1
    for turn, digit in enumerate(bin(length)[3:]):
        odd = int(digit)
        b, a = total.shape[0] - span - odd, total.shape[2] - span - odd
        shape = (b, terms.shape[1], a, terms.shape[3])
        out = buffers[turn % 2, : math.prod(shape)].view(shape)
        total = torch.add(total[:b, :, :a], total[span : span + b, :, span : span + a], out=out)
        span *= 2
        if odd:
            total += terms[span : span + b, :, span : span + a]
            span += 1
    return total
