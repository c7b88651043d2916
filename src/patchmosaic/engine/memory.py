"""A byte budget becomes block sizes, checked before anything is allocated.

Work is cut into blocks of some queries by some pool images. On a CPU a block should stay near the cache, whatever the budget
allows; on a GPU it should be as large as the budget allows, because each launch costs the same.

A pool may be larger than the memory: it is stored as bytes where its images are 8-bit, it may be mapped from a file, and only
the images of a block are read and made into numbers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from patchmosaic.errors import MemoryBudgetError

DEFAULT_BUDGET = 2**30
CACHE_BYTES = 32 * 2**20
SCAN_BYTES = 4 * 2**20

# A pool's images as they are kept: numbers in [-1, 1], or bytes u that stand for u / 127.5 - 1.
StoredImages = Float[Tensor, "N C H W"] | UInt8[Tensor, "N C H W"]

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

        But where a pair costs little beside an image, they leave half of the room to queries that share them.

        Raises:
            MemoryBudgetError: one query against one image does not fit.
        """
        half = max(1, _room(budget, device) // (2 * max(1, self.image)))
        block = min(half, self.images_at_once(1, images, budget, device))
        room = _room(budget, device) - block * self.image
        return min(queries, max(1, room // (self.query + block * self.pair)))


def _room(budget: int, device: torch.device) -> int:
    return min(budget, CACHE_BYTES) if device.type == "cpu" else budget


def pool_blocks(
    stored: Float[Tensor, "N ..."] | UInt8[Tensor, "N ..."],
    index: Int64[Tensor, " n"] | None,
    size: int,
    dtype: torch.dtype,
) -> Iterator[Float[Tensor, "n ..."]]:
    """The pool, or the images at `index`, in blocks of at most `size` images of the given dtype.

    Of a pool that is mapped from a file, a block reads its own images and no others.
    """
    count = len(stored) if index is None else len(index)
    for start in range(0, count, size):
        chosen = slice(start, start + size) if index is None else index[start : start + size]
        yield as_numbers(stored[chosen], dtype)


def block_numbers(index: Int64[Tensor, " n"] | None, first: int, block: Tensor) -> Int64[Tensor, " b"]:
    """The positions in the pool of a block of `pool_blocks` that begins after `first` images."""
    if index is None:
        return torch.arange(first, first + len(block), device=block.device)
    return index[first : first + len(block)]


def scanned(
    stored: Float[Tensor, "N ..."] | UInt8[Tensor, "N ..."],
    index: Int64[Tensor, " n"] | None = None,
    dtype: torch.dtype = torch.float32,
) -> Iterator[Float[Tensor, "n ..."]]:
    """`pool_blocks` of a few megabytes, for a look at every image outside any budget."""
    return pool_blocks(stored, index, max(1, SCAN_BYTES // (dtype.itemsize * math.prod(stored.shape[1:]))), dtype)


def as_numbers(
    stored: Float[Tensor, "*shape"] | UInt8[Tensor, "*shape"], dtype: torch.dtype = torch.float32
) -> Float[Tensor, "*shape"]:
    """Stored pixels in [-1, 1]: a byte u becomes u / 127.5 - 1, rounded to float32 whatever `dtype` and device."""
    if stored.dtype != torch.uint8:
        return stored.to(dtype)
    # Division by a Python number is multiplication by its rounded inverse on a GPU; division by a tensor is division.
    half_range = torch.full((), 127.5, dtype=torch.float32, device=stored.device)
    return stored.float().div_(half_range).sub_(1).to(dtype)
