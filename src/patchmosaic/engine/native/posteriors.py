"""Softmax over patches in C++: `patches.hpp` holds the algorithm, `places.hpp` that of the rule "same position"."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from patchmosaic.engine.belief import TracedSum
from patchmosaic.engine.bounds import skip_threshold
from patchmosaic.engine.matching import Rule, admitted_pairs
from patchmosaic.engine.memory import Footprint, StoredImages, as_numbers
from patchmosaic.engine.native.instructions import kernel
from patchmosaic.engine.posterior import Empty, PosteriorSum
from patchmosaic.engine.precision import log_weight_error
from patchmosaic.progress import inside

CALL_PAIRS = 2 * 10**8  # of one call and thread, some tenths of a second: between calls Ctrl-C is heard
TELL_AFTER = 2.0  # seconds of work, of its progress
SKIPPED_SHARE = {torch.float32: 2.0**-26, torch.float64: 2.0**-53}
ROUNDOFF = {torch.float32: 2.0**-24, torch.float64: 2.0**-53}
SLIDING_ERROR = {torch.float32: 1.7e-4, torch.float64: 4e-10}  # beyond it, distances that count are computed anew: `_far_off`
STIR = {torch.float32: 6e-6, torch.float64: 1e-14}  # and so much the others may move the mean
IMAGES_FOR_CENTRE = 64
LANES = 16  # images side by side in a vector


def native_posteriors(
    queries: Float[Tensor, "B C H W"],
    precision: Float[Tensor, " B"],
    images: StoredImages,
    index: Int64[Tensor, " n"] | None,
    rule: Rule,
    patch_sizes: tuple[int, ...],
    instructions: str,
    empty: Empty = PosteriorSum.empty,
) -> list[PosteriorSum]:
    """For each patch size, the posterior of every pixel over the centres of its patches, in the dtype of `queries`.

    A last channel holds the sum of the squares of the others, which tells how far rounding may have moved the mean: `read_off`.
    Candidates are left out where they weigh too little to count: less than exp(-`skip_threshold`) times the likeliest.

    Args:
        instructions: one of `instructions.instruction_sets()`; for the others see `patch_posteriors`.
    """
    queries = queries.contiguous()
    channels, *shape = queries.shape[1:]
    # Of the pool, not of the images at `index`: what is rounded alike on all ranks differs by little.
    centre = as_numbers(images[:IMAGES_FOR_CENTRE], torch.float64).mean((0, 2, 3)).to(queries.dtype)
    states = []
    for size in patch_sizes:
        state = empty(len(queries), (channels + 1, *shape), True, queries.device)
        anew_within = _anew_within(queries, precision, size)
        _add(state, queries, precision, anew_within, centre, images, index, rule, size, instructions)
        states.append(state)
    return states


def sliding_error(queries: Float[Tensor, "B C H W"], precision: Float[Tensor, " B"], patch_size: int) -> Float64[Tensor, " B"]:
    """Estimated error of a log-weight whose products were summed by sliding: gamma times that of the sum.

    The error of a sum that slides grows as the square root of the number of its steps. Of 16 cases (CIFAR-10 and MNIST,
    P = 3 to 17, t = 0.05 to 0.5) the worst measured was 1.24 times this.
    """
    channels, height, width = queries.shape[1:]
    window = min(patch_size, max(height, width))
    spread = queries.double().flatten(2).std(2, correction=0).square().mean(1).sqrt()
    return 1.6 * ROUNDOFF[queries.dtype] * precision.double() * spread * window * math.sqrt(channels * (window + width))


def _far_off(queries: Tensor, precision: Tensor, patch_size: int) -> Tensor:
    """Whether sums that slide would probably leave a mean so far off that float64 had to do it again.

    The more numbers a patch has, the fewer patches share the weight, and the less their errors average out: along published
    schedules `read_off` estimated the mean of CIFAR-10 to be off by 0.03 to 0.04 sqrt(C) P times the error of a log-weight,
    that of MNIST by less. Wrong guesses cost time, not exactness.
    """
    sliding = sliding_error(queries, precision, patch_size)
    return sliding * patch_size * math.sqrt(queries.shape[1]) > SLIDING_ERROR[queries.dtype]


def _anew_within(queries: Tensor, precision: Tensor, patch_size: int) -> Tensor:
    """How much of the weight, as minus its logarithm, a patch may have before its distance is computed anew.

    Independent errors e of log-weights move a mean by e sqrt(sum w²) <= e sqrt(max w), where shares w sum to 1. Errors of
    sliding sums are taken twice, as some do worse than others.
    """
    within = 2 * (2 * sliding_error(queries, precision, patch_size) / STIR[queries.dtype]).log()
    return torch.where(_far_off(queries, precision, patch_size), within, -math.inf)


def read_off(
    state: PosteriorSum, queries: Float[Tensor, "B C H W"], precision: Float64[Tensor, " B"], patch_size: int, rule: Rule
) -> tuple[PosteriorSum, Float64[Tensor, " B"]]:
    """The posterior without its sum of squares, and the relative L2 error that rounding leaves in its mean.

    Sums of weights and values, added in float32 for a while, err by less than 1e-6.
    """
    if _slides(rule, state):
        return state.read_off(_sliding_log_weight_error(state, queries, precision, patch_size))
    return state.read_off(log_weight_error(state, queries, precision))


def _sliding_log_weight_error(
    state: PosteriorSum, queries: Float[Tensor, "B C H W"], precision: Float64[Tensor, " B"], patch_size: int
) -> Float64[Tensor, "B h w"]:
    """What sliding sums err by (taken twice, as some do worse than others); where distances were computed anew, the rounding of
    y - phi, which is alike in pixels that are alike and so adds up over a window, and what the other distances may do.
    """
    sliding = sliding_error(queries, precision, patch_size)[:, None, None]
    largest = queries.double().square().mean((1, 2, 3)).sqrt().clamp_min(1.0)[:, None, None]
    anew = 0.5 * patch_size * ROUNDOFF[queries.dtype] * largest * (2 * state.m.abs() * precision[:, None, None]).sqrt()
    others = STIR[queries.dtype] * state.s.sqrt()  # they move the mean by no more, whatever the number of patches
    far_off = _far_off(queries, precision, patch_size)[:, None, None]
    return torch.where(far_off, torch.hypot(anew, others), 2 * sliding)


def _slides(rule: Rule, state: PosteriorSum) -> bool:
    """Whether `patches.hpp` serves, whose sums slide and cancel; in `places.hpp` nothing does."""
    return rule != "same position" or isinstance(state, TracedSum)


def native_footprint(image_shape: Sequence[int], patch_sizes: Sequence[int]) -> Footprint:
    """Bytes that `native_posteriors` needs: images stay where they are, each thread has scratch and sums of its own.

    Counted for `patches.hpp`; `places.hpp` needs less.
    """
    channels, height, width = image_shape
    threads, band, rims = torch.get_num_threads(), 8, 20  # see patches.hpp
    pixels = height * width
    state = 8 * (channels + 2) * pixels
    query = 4 * LANES * (channels + 1) * pixels + state  # what a thread has learnt of a query
    window = min(max(patch_sizes), 2 * width)
    images = 4 * LANES * ((channels + 2) * height * (width + rims) + pixels + band * (width + window))
    # Float64 has half the lanes of twice the size. Queries are kept twice, and what is known of their pixels.
    return Footprint(
        pair=0,
        query=state * (2 * len(patch_sizes) + 2) + threads * query + 16 * pixels * (channels + 3),
        image=threads * images,
    )


def _add(
    state: PosteriorSum,
    queries: Tensor,
    precision: Tensor,
    anew_within: Tensor,
    centre: Tensor,
    images: Tensor,
    index: Tensor | None,
    rule: Rule,
    patch_size: int,
    instructions: str,
) -> None:
    """Add all images to `state`, in calls of about `CALL_PAIRS` pairs a thread."""
    count = len(images) if index is None else len(index)
    skip = skip_threshold(count * admitted_pairs(rule, images.shape[-2:], patch_size), SKIPPED_SHARE[queries.dtype])
    threads = torch.get_num_threads()
    spread: dict[str, Any] = {}
    if isinstance(state, TracedSum):  # of each pixel the likeliest lie side by side there
        top, source = state.top.movedim(1, 3).contiguous(), state.source.movedim(1, 3).contiguous()
        sums = {"surprise": state.surprise, "squares": state.squares, "image_squares": state.image_squares}
        spread = {name: tensor.numpy() for name, tensor in (sums | {"top": top, "source": source}).items()}
    start, several = 0, threads * _images_a_call(queries, rule, _slides(rule, state))
    opened = time.perf_counter()
    while start < count:
        if time.perf_counter() - opened > TELL_AFTER:
            inside()(f"images met, P = {patch_size}", start, count)
        stop = min(count, start + several)
        kernel.add_patches(
            queries=queries.numpy(),
            precision=precision.double().numpy(),
            anew_within=anew_within.numpy(),
            centre=centre.numpy(),
            images=images.numpy(),
            index=None if index is None else index.numpy(),
            start=start,
            stop=stop,
            rule=rule,
            patch_size=patch_size,
            skip=skip,
            threads=threads,
            instructions=instructions,
            m=state.m.numpy(),
            s=state.s.numpy(),
            v=state.v.numpy(),
            **spread,
        )
        start = stop
    if isinstance(state, TracedSum):
        state.top, state.source = top.movedim(3, 1).contiguous(), source.movedim(3, 1).contiguous()


def _images_a_call(queries: Tensor, rule: Rule, slides: bool) -> int:
    """For each thread, whole vectors of them. By a count and not by a clock: what is cut alike is added alike, to the bit."""
    pixels = queries.shape[-2] * queries.shape[-1]
    a_pixel = pixels if rule != "same position" else 10 if slides else 1  # traced, reading the image is the work
    return max(1, CALL_PAIRS // (len(queries) * pixels * a_pixel * LANES)) * LANES
