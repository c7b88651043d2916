"""Softmax over patches in C++, where the kernel was built: `patches.hpp` holds the algorithm.

It is compiled for several instruction sets, and the best that the processor has is chosen here. Without a compiler the package
installs all the same and plain torch serves.

The environment variable PATCHMOSAIC_NATIVE chooses another way: 0 for none, or one of `instruction_sets()`.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Sequence
from functools import cache

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from patchmosaic.engine.bounds import skip_threshold
from patchmosaic.engine.matching import Rule, admitted_pairs
from patchmosaic.engine.memory import WIDEST, Footprint, StoredImages
from patchmosaic.engine.posterior import PosteriorSum
from patchmosaic.errors import PatchMosaicError
from patchmosaic.progress import inside

try:
    from patchmosaic.engine.native import _patches as kernel
except ImportError:
    kernel = None  # type: ignore[assignment]

CHOICE = "PATCHMOSAIC_NATIVE"
CALL_PAIRS = 2 * 10**8  # of one call and thread, some tenths of a second: between calls Ctrl-C is heard
TELL_AFTER = 2.0  # seconds of work, of its progress
SKIPPED_SHARE = {torch.float32: 2.0**-26, torch.float64: 2.0**-53}


def instruction_sets() -> list[str]:
    """What the kernel can run on this processor, best first; empty where it was not built."""
    return [] if kernel is None else list(kernel.instruction_sets())


def instruction_set() -> str | None:
    """What the kernel will run, or None where plain torch serves.

    Raises:
        PatchMosaicError: PATCHMOSAIC_NATIVE names something that is not there.
    """
    known = instruction_sets()
    if not known and CHOICE not in os.environ:
        _say_once()
    choice = os.environ.get(CHOICE, known[0] if known else "0")
    if choice == "0":
        return None
    if choice not in known:
        raise PatchMosaicError(
            f"{CHOICE} must name an instruction set of this processor, or be 0 for plain torch",
            got=repr(choice),
            hint=f"Known here: {', '.join(known) or 'none, the kernel was not built'}.",
        )
    return choice


@cache
def _say_once() -> None:
    warnings.warn(
        "the native kernel was not built, probably for want of a C++ compiler: plain torch serves, which is slower. "
        f"{CHOICE}=0 silences this; `patchmosaic doctor` tells more.",
        RuntimeWarning,
        stacklevel=3,
    )


def native_posteriors(
    queries: Float[Tensor, "B C H W"],
    precision: Float[Tensor, " B"],
    images: StoredImages,
    index: Int64[Tensor, " n"] | None,
    rule: Rule,
    patch_sizes: tuple[int, ...],
    instructions: str,
) -> list[PosteriorSum]:
    """For each patch size, the posterior of every pixel over the centres of its patches, in the dtype of `queries`.

    Candidates are left out where they weigh too little to count: less than exp(-`skip_threshold`) times the likeliest.

    Args:
        instructions: one of `instruction_sets()`; for the others see `patch_posteriors`.
    """
    queries = queries.contiguous()
    states = []
    for size in patch_sizes:
        state = PosteriorSum.empty(len(queries), queries.shape[1:], per_pixel=True, device=queries.device)
        _add(state, queries, precision, images, index, rule, size, instructions)
        states.append(state)
    return states


def native_footprint(image_shape: Sequence[int], patch_sizes: Sequence[int]) -> Footprint:
    """Bytes that `native_posteriors` needs: images stay where they are, each thread has scratch and sums of its own."""
    channels, height, width = image_shape
    row = width + 16  # rows fill whole vectors
    threads = torch.get_num_threads()
    state = WIDEST * (channels + 2) * height * row
    window = min(max(patch_sizes), 2 * height - 1) + 1
    scratch = WIDEST * row * (2 * channels * height + width * (window + 4) + 4 * max(patch_sizes))
    return Footprint(pair=0, query=state * (2 * len(patch_sizes) + 4 * threads), image=threads * scratch)


def _add(
    state: PosteriorSum,
    queries: Tensor,
    precision: Tensor,
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
    start, several = 0, threads * _images_a_call(queries, rule)
    opened = time.perf_counter()
    while start < count:
        if time.perf_counter() - opened > TELL_AFTER:
            inside()(f"images met, P = {patch_size}", start, count)
        stop = min(count, start + several)
        kernel.add_patches(
            queries=queries.numpy(),
            precision=precision.double().numpy(),
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
        )
        start = stop


def _images_a_call(queries: Tensor, rule: Rule) -> int:
    """For each thread. By a count and not by a clock: what is cut alike is added alike, to the bit."""
    pixels = queries.shape[-2] * queries.shape[-1]
    met = pixels * (10 if rule == "same position" else pixels)  # that rule has little to do for each image but read it
    return max(1, CALL_PAIRS // (len(queries) * met))
