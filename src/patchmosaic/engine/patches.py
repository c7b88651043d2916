"""Softmax over patches, for every pixel and every patch size at once: which way of computing it, and how exactly.

Which positions q of a training image a pixel may match, and what its window sees beyond the border, is all that the machines
differ in: a rule of `matching`. The ways of computing differ in speed only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from patchmosaic.engine.attention import attends, attention_footprint, attention_posteriors, read_off_products
from patchmosaic.engine.borders import border_footprint, border_posteriors, has_inside, read_off_border
from patchmosaic.engine.box_sums import box_sum_footprint, box_sum_posteriors
from patchmosaic.engine.distributed import ALONE, Ranks
from patchmosaic.engine.matching import Rule
from patchmosaic.engine.memory import Footprint, StoredImages
from patchmosaic.engine.native.instructions import instruction_set
from patchmosaic.engine.native.posteriors import native_footprint, native_posteriors, read_off
from patchmosaic.engine.posterior import Empty, PosteriorSum
from patchmosaic.engine.precision import exact, log_weight_error


def patch_posteriors(
    queries: Float64[Tensor, "B C H W"],
    precision: Float64[Tensor, " B"],
    images: StoredImages,
    index: Int64[Tensor, " n"] | None,
    rule: Rule,
    patch_sizes: tuple[int, ...],
    dtype: torch.dtype,
    memory_budget: int,
    ranks: Ranks = ALONE,
    empty: Empty = PosteriorSum.empty,
) -> list[PosteriorSum]:
    """For each patch size, the posterior of every pixel over the centres of the patches that it may match.

    Args:
        precision: gamma of each query; the log-weight of a patch is -gamma/2 times its squared distance.
        index: the images of the pool that count; None for all.
        rule: which patches a pixel may match.
        patch_sizes: odd, and small enough for the rule to admit a patch.
        dtype: float32, with float64 where that is not enough, or float64.
        ranks: those whose posteriors are merged; whether float32 is enough shows in the whole only.
        empty: the state to fill.

    Raises:
        MemoryBudgetError: `memory_budget` bytes do not hold one image against one query.
    """

    def one_pass(
        queries: Tensor, precision: Tensor, dtype: torch.dtype, answers: Sequence[int]
    ) -> tuple[list[PosteriorSum], list[Tensor]]:
        queries = queries.to(dtype)
        sizes = tuple(patch_sizes[answer] for answer in answers)
        instructions, plain = _native(queries.device), empty == PosteriorSum.empty  # only the kernel and box sums trace
        told: Callable[..., tuple[PosteriorSum, Tensor]] = _read_off_differences
        if instructions:
            states = native_posteriors(queries, precision, images, index, rule, sizes, instructions, empty)
            told = partial(read_off, rule=rule)
        elif plain and _runs_triton(queries.device):
            from patchmosaic.engine.triton_patches import triton_patch_posteriors

            states = triton_patch_posteriors(queries, precision, images, index, rule, sizes, memory_budget)
        elif plain and _attends(queries.device, rule, queries.shape[1:], sizes):
            states = attention_posteriors(queries, precision, images, index, rule, sizes, memory_budget)
            told = read_off_products
        elif plain and _splits(queries.device, rule, queries.shape[1:], sizes):
            states = border_posteriors(queries, precision, images, index, sizes, memory_budget)
            told = read_off_border
        else:
            states = box_sum_posteriors(queries, precision, images, index, rule, sizes, memory_budget, empty=empty)
        merged = [ranks.merge(state) for state in states]
        answers_and_errors = [told(state, queries, precision, size) for state, size in zip(merged, sizes, strict=True)]
        return [answer for answer, _ in answers_and_errors], [error for _, error in answers_and_errors]

    return exact(one_pass, len(patch_sizes), queries, precision, dtype)


def patch_footprint(image_shape: Sequence[int], patch_sizes: Sequence[int], rule: Rule, device: torch.device) -> Footprint:
    """Bytes that `patch_posteriors` needs for these patch sizes."""
    if _native(device):
        return native_footprint(image_shape, patch_sizes)
    if _runs_triton(device):
        from patchmosaic.engine.triton_patches import triton_footprint

        return triton_footprint(image_shape, len(patch_sizes))
    if _attends(device, rule, image_shape, patch_sizes):
        return attention_footprint(image_shape, patch_sizes, rule)
    if _splits(device, rule, image_shape, patch_sizes):
        return border_footprint(image_shape, patch_sizes)
    return box_sum_footprint(image_shape, len(patch_sizes))


def _read_off_differences(
    state: PosteriorSum, queries: Tensor, precision: Tensor, patch_size: int
) -> tuple[PosteriorSum, Float64[Tensor, " B"]]:
    """The posterior, and the error that rounding leaves in its mean where squared differences were summed."""
    return state, state.rounding_error(log_weight_error(state, queries, precision))


def _attends(device: torch.device, rule: Rule, image_shape: Sequence[int], patch_sizes: Sequence[int]) -> bool:
    """Whether matrix products serve every pixel."""
    return device.type == "cpu" and attends(rule, image_shape, patch_sizes)


def _splits(device: torch.device, rule: Rule, image_shape: Sequence[int], patch_sizes: Sequence[int]) -> bool:
    """Whether they serve the pixels inside; elsewhere box sums serve all."""
    return device.type == "cpu" and rule == "same border" and has_inside(image_shape, patch_sizes)


def _runs_triton(device: torch.device) -> bool:
    """Whether the GPU kernel serves; without Triton, or with one too old, box sums do."""
    if device.type != "cuda":
        return False
    try:
        import patchmosaic.engine.triton_patches  # noqa: F401
    except ImportError:
        return False
    return True


def _native(device: torch.device) -> str | None:
    return instruction_set() if device.type == "cpu" else None
