"""A byte budget becomes block sizes, checked before anything is allocated.

Work is cut into blocks of some queries by some pool images. On a CPU a block should stay near the cache, whatever the budget
allows; on a GPU it should be as large as the budget allows, because each launch costs the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from patchmosaic.errors import MemoryBudgetError

DEFAULT_BUDGET = 2**30
CACHE_BYTES = 32 * 2**20

# Footprints count in float64, because any query may have to be done again in it.
WIDEST = 8


@dataclass(frozen=True)
class Footprint:
    """Bytes that a machine needs.

    Attributes:
        pair: scratch for one query against one pool image.
        query: state of one query.
        image: one pool image in working precision.
    """

    pair: int
    query: int
    image: int

    def images_at_once(self, queries: int, images: int, budget: int, device: torch.device) -> int:
        """How many of `images` to meet `queries` with.

        Raises:
            MemoryBudgetError: not even one fits.
        """
        least = self.image + queries * (self.pair + self.query)
        if least > budget:
            raise MemoryBudgetError(
                "the smallest piece of work does not fit the memory budget",
                got=f"{budget:,} bytes",
                hint=f"Give memory_budget at least {least:,} bytes.",
            )
        room = _room(budget, device) - queries * self.query
        return min(images, max(1, room // (self.image + queries * self.pair)))

    def queries_at_once(self, queries: int, images: int, budget: int, device: torch.device) -> int:
        """How many of `queries` to work on together. Images come first: many of them amortise what a block costs.

        Raises:
            MemoryBudgetError: one query against one image does not fit.
        """
        block = self.images_at_once(1, images, budget, device)
        room = _room(budget, device) - block * self.image
        return min(queries, max(1, room // (self.query + block * self.pair)))


def _room(budget: int, device: torch.device) -> int:
    return min(budget, CACHE_BYTES) if device.type == "cpu" else budget


def pool_blocks(
    images: Float[Tensor, "N C H W"], index: Int64[Tensor, " n"] | None, size: int, dtype: torch.dtype
) -> Iterator[Float[Tensor, "n C H W"]]:
    """The pool, or the images at `index`, in blocks of at most `size` images of the given dtype."""
    count = len(images) if index is None else len(index)
    for start in range(0, count, size):
        chosen = slice(start, start + size) if index is None else index[start : start + size]
        yield images[chosen].to(dtype)
