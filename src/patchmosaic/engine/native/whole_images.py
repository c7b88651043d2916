"""Whole images against queries in C++: `images.hpp` has the loops."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from patchmosaic.engine.memory import StoredImages
from patchmosaic.engine.native.instructions import kernel


def half_squared_distances(
    queries: Float[Tensor, "B D"],
    images: StoredImages,
    index: Int64[Tensor, " n"] | None,
    start: int,
    stop: int,
    instructions: str,
) -> Float64[Tensor, "B m"]:
    """‖y - phi‖²/2 for the images `start` to `stop` of the pool, or of those at `index`.

    Differences are squared in the dtype of `queries` and soon added in float64: nothing cancels.

    Args:
        instructions: one of `instructions.instruction_sets()`.
    """
    half = torch.empty(len(queries), stop - start, dtype=torch.float64)
    _write_half_squared_distances(half, None, queries, images, index, start, stop, instructions)
    return half


def compute_anew(
    half: Float64[Tensor, "B m"],
    where: Bool[Tensor, "B m"],
    queries: Float[Tensor, "B D"],
    images: StoredImages,
    index: Int64[Tensor, " n"] | None,
    start: int,
    stop: int,
    instructions: str,
) -> None:
    """The same, in place and only `where` it is asked for. Images that nobody asks for are not read."""
    _write_half_squared_distances(half, where, queries, images, index, start, stop, instructions)


def _write_half_squared_distances(
    half: Tensor,
    where: Tensor | None,
    queries: Tensor,
    images: Tensor,
    index: Tensor | None,
    start: int,
    stop: int,
    instructions: str,
) -> None:
    kernel.half_squared_distances(
        queries=queries.contiguous().numpy(),
        images=images.numpy(),
        index=None if index is None else index.numpy(),
        start=start,
        stop=stop,
        threads=torch.get_num_threads(),
        instructions=instructions,
        half=half.numpy(),
        where=None if where is None else where.numpy(),
    )


def weighted_sums(
    weights: Float[Tensor, "B m"],
    images: StoredImages,
    index: Int64[Tensor, " n"] | None,
    start: int,
    stop: int,
    instructions: str,
) -> Float64[Tensor, "B D"]:
    """Those images times their weights. Images that weigh nothing are not read.

    Args:
        instructions: one of `instructions.instruction_sets()`.
    """
    sums = torch.zeros(len(weights), images[0].numel(), dtype=torch.float64)
    kernel.add_weighted(
        weights=weights.contiguous().numpy(),
        images=images.numpy(),
        index=None if index is None else index.numpy(),
        start=start,
        stop=stop,
        threads=torch.get_num_threads(),
        instructions=instructions,
        sums=sums.numpy(),
    )
    return sums
