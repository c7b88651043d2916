"""Softmax over whole images: the log-weights are one matrix product.

    l_n = -gamma/2 ‖y - phi_n‖² = gamma (y·phi_n - ‖phi_n‖²/2) + const,    value phi_n

The constant -gamma/2 ‖y‖² is the same for all n and drops out of the softmax. Where only r linear functions of an image are
seen, U'y and U'phi_n take the places of y and phi_n in the log-weights; the values stay whole images.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from patchmosaic.engine.belief import TracedSum, traced
from patchmosaic.engine.distributed import ALONE, Ranks
from patchmosaic.engine.memory import WIDEST, Footprint, StoredImages, block_numbers, pool_blocks
from patchmosaic.engine.posterior import FLOAT32_ROUNDOFF, Empty, PosteriorSum
from patchmosaic.engine.precision import exact


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

    def one_pass(queries: Tensor, precision: Tensor, answers: Sequence[int]) -> tuple[list[PosteriorSum], list[Tensor]]:
        state, error = _one_pass(queries, precision, images, index, memory_budget, ranks, seen, empty)
        return [state], [state.rounding_error(error)]

    return exact(one_pass, 1, queries, precision, dtype)[0]


def whole_image_footprint(image_shape: Sequence[int]) -> Footprint:
    """Bytes that `whole_image_posterior` needs."""
    pixels = math.prod(image_shape)
    # Three of an image: itself, and its squares, or the bytes and float32 that it is made from while the last block lives.
    return Footprint(pair=4 * WIDEST, query=4 * WIDEST * pixels, image=3 * WIDEST * pixels)


@contextmanager
def float32_products() -> Iterator[None]:
    """Float32 matrix products in float32, also where the process has allowed less: TF32 on a GPU, bfloat16 on a CPU."""
    if not hasattr(torch.backends.cuda.matmul, "fp32_precision"):  # torch before 2.9
        allowed = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("highest")
        try:
            yield
        finally:
            torch.set_float32_matmul_precision(allowed)
        return
    products = torch.backends.cuda.matmul, torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    lowered = [(product, product.fp32_precision) for product in products if product.fp32_precision not in ("none", "ieee")]
    try:
        for product, _ in lowered:
            product.fp32_precision = "ieee"
        yield
    finally:
        for product, allowed in lowered:
            product.fp32_precision = "none"  # "none" follows the setting of its backend, which may be all that was lowered
            if product.fp32_precision != allowed:
                product.fp32_precision = allowed


@float32_products()
def _one_pass(
    queries: Tensor,
    precision: Tensor,
    images: Tensor,
    index: Tensor | None,
    memory_budget: int,
    ranks: Ranks,
    seen: Tensor | None,
    empty: Empty,
) -> tuple[PosteriorSum, Tensor]:
    shape = queries.shape[1:]
    count = len(images) if index is None else len(index)
    block_size = whole_image_footprint(shape).images_at_once(len(queries), count, memory_budget, queries.device)
    whole = empty(len(queries), shape, False, queries.device)
    largest = torch.zeros((), dtype=queries.dtype, device=queries.device)
    gamma = precision[:, None].to(queries.dtype)
    keys = queries.flatten(1) if seen is None else queries.flatten(1) @ seen.to(queries.dtype)  # (B, CHW) or (B, r)
    for number, block in enumerate(pool_blocks(images, index, block_size, queries.dtype)):
        flat = block.flatten(1)  # (n, CHW)
        norms = flat.square().sum(1)  # (n,)
        largest = torch.maximum(largest, norms.amax())
        offered = flat
        if seen is not None:
            offered = flat @ seen.to(flat.dtype)  # (n, r)
            norms = offered.square().sum(1)
        log_weights = gamma * (keys @ offered.T - 0.5 * norms)  # (B, n)
        m = log_weights.amax(1)
        weights = torch.exp(log_weights - m[:, None])
        part = PosteriorSum(
            m.double()[:, None, None],
            weights.sum(1).double()[:, None, None],
            (weights @ flat).double().view(-1, *shape),
        )
        if isinstance(whole, TracedSum):
            source = block_numbers(index, number * block_size, block)[:, None, None] * math.prod(shape[1:])
            part = traced(part, log_weights[..., None, None], source, whole.top.shape[1])
        whole.merge_(part)
    largest = -ranks.least(-largest)
    lengths = queries.flatten(1).norm(dim=1)
    error = FLOAT32_ROUNDOFF * precision * (lengths * largest.sqrt() + largest)
    return ranks.merge(whole), error.double()[:, None, None]
