"""A byte budget becomes block sizes, checked before anything is allocated.

Work is cut into blocks of `samples` queries by `candidates` pool images. On a CPU a block should stay in cache, whatever the
budget allows; on a GPU it should be as large as the budget allows, because each launch costs the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from patchmosaic.errors import MemoryBudgetError

DEFAULT_BUDGET = 2**30
CACHE_BYTES = 16 * 2**20

# Every plan counts in float64, because any query may have to be done again in it.
WIDEST = 8


@dataclass(frozen=True)
class BlockPlan:
    """How many queries and how many pool images are worked on at once."""

    samples: int
    candidates: int


def plan_blocks(
    samples: int,
    candidates: int,
    *,
    pair_bytes: int,
    sample_bytes: int,
    image_bytes: int,
    budget: int,
    device: torch.device,
) -> BlockPlan:
    """The largest block that fits the budget, and on a CPU the cache.

    Args:
        pair_bytes: scratch for one query against one pool image.
        sample_bytes: state kept for one query.
        image_bytes: one pool image in float64.

    Raises:
        MemoryBudgetError: one query against one image does not fit.
    """
    least = pair_bytes + sample_bytes + image_bytes
    if least > budget:
        raise MemoryBudgetError(
            "the smallest piece of work does not fit the memory budget",
            got=f"{budget:,} bytes",
            hint=f"Give memory_budget at least {least:,} bytes.",
        )
    cache = CACHE_BYTES if device.type == "cpu" else budget

    def most(fixed: int, each: int) -> int:
        return max(1, min(budget - fixed, cache) // each)

    # Images first: a block of images is read once for all displacements, so many images amortise the reading.
    images = min(candidates, most(sample_bytes, pair_bytes + image_bytes))
    queries = min(samples, most(images * image_bytes, images * pair_bytes + sample_bytes))
    while queries > 1 and images * image_bytes + queries * (images * pair_bytes + sample_bytes) > budget:
        queries -= 1
    return BlockPlan(queries, images)


def pool_blocks(
    images: Float[Tensor, "N C H W"], index: Int64[Tensor, " n"] | None, size: int, dtype: torch.dtype
) -> Iterator[Float[Tensor, "n C H W"]]:
    """The pool, or the images at `index`, in blocks of at most `size` images of the given dtype."""
    count = len(images) if index is None else len(index)
    for start in range(0, count, size):
        chosen = slice(start, start + size) if index is None else index[start : start + size]
        yield images[chosen].to(dtype)
