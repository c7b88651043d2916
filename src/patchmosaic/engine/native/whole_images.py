"""Whole images against queries in C++: `images.hpp` has the loops."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from patchmosaic.engine.memory import StoredImages
from patchmosaic.engine.native.instructions import kernel


@dataclass(frozen=True)
class Found:
    """What one thread found in its images.

    Attributes:
        nearest: (B,) half the squared distance of the nearest image known.
        weight: (B,) the sum of weights, relative to that image.
        rough: (B,) the sum of squared weights whose distances are not exact.
        sums: (B, D) images times their weights.
    """

    nearest: Float64[Tensor, " B"]
    weight: Float64[Tensor, " B"]
    rough: Float64[Tensor, " B"]
    sums: Float64[Tensor, "B D"]


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


def stream(
    queries: Float[Tensor, "B D"],
    exact_queries: Float64[Tensor, "B D"],
    precision: Float64[Tensor, " B"],
    images: StoredImages,
    index: Int64[Tensor, " n"] | None,
    start: int,
    stop: int,
    nearest: Float64[Tensor, " B"],
    weight: Float64[Tensor, " B"],
    anew_within: Float64[Tensor, " B"],
    skip: float,
    instructions: str,
) -> Iterator[Found]:
    """The posterior of few queries over those images, each read once, in as many parts as there are threads.

    Args:
        exact_queries: the same queries, for distances that are computed anew.
        nearest: half the squared distance of the nearest image known.
        weight: what some images weigh, relative to it; at least this is the weight of all.
        anew_within: distances of images with a share above exp(-anew_within) of all the weight are computed anew in float64.
        skip: images less than exp(-skip) times as likely as the likeliest so far are left out.
        instructions: one of `instructions.instruction_sets()`.
    """
    threads = torch.get_num_threads()
    # As of threads that meet no image: there may be fewer of them than are asked for.
    of_queries = torch.zeros(3, threads, len(queries), dtype=torch.float64)
    of_queries[0] = math.inf
    sums = torch.zeros(threads, *queries.shape, dtype=torch.float64)
    kernel.stream(
        queries=queries.contiguous().numpy(),
        exact_queries=exact_queries.contiguous().numpy(),
        precision=precision.contiguous().numpy(),
        images=images.numpy(),
        index=None if index is None else index.numpy(),
        start=start,
        stop=stop,
        threads=threads,
        instructions=instructions,
        nearest=nearest.contiguous().numpy(),
        weight=weight.contiguous().numpy(),
        anew_within=anew_within.contiguous().numpy(),
        skip=skip,
        found_nearest=of_queries[0].numpy(),
        found_weight=of_queries[1].numpy(),
        found_rough=of_queries[2].numpy(),
        found_sums=sums.numpy(),
    )
    nearest, weight, rough = of_queries
    return (Found(nearest[n], weight[n], rough[n], sums[n]) for n in range(threads))
