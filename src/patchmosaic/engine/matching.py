"""Which training patches a pixel may match, as displacements along one axis.

Every rule is separable: a pixel (p, p') may match a position (q, q') if its row p may match q and its column p' may match q'.
A rule is therefore one line about rows, and the rest of this module turns it into the shifts under which some pair is admitted,
each with the rows that have to be looked at.

    same position     LS       p matches q = p; windows are cut at the border
    same border       bbELS    p matches q = p; where the windows of both lie inside the image, any q
    anywhere          ELS      p matches any q, on a torus
    anywhere inside   ELS      p, on a torus, matches any q whose window does not wrap: training padding "valid"

The halves of "same border" are rules as well, so that `borders` can split the pixels:

    inside            any q matches p, where the windows of both lie inside the image; other p match nothing
    at the border     p matches q = p, where its window does not lie inside
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from typing import Literal

import torch
from jaxtyping import Int64
from torch import Tensor


@dataclass(frozen=True)
class Match:
    """The pixels that one patch size can match under one shift of one axis: pairs of a query row p and a training row q."""

    radius: int  # the window round a row sees so many more on either side
    torus: bool  # beyond the image it sees the other end; else nothing
    beyond: tuple[int, int]  # how many rows it sees there, before the first row and after the last
    seen: slice  # the rows of the shift's overlap that some window sees
    centre: slice  # training rows that hold all q; between them there may be rows without a pair
    kept: Int64[Tensor, " k"]  # which of `centre` are a q
    query: Int64[Tensor, " k"]  # the p of each

    def to(self, device: torch.device) -> Match:
        """The same on another device."""
        return replace(self, kept=self.kept.to(device), query=self.query.to(device))


@dataclass(frozen=True)
class Shift:
    """One displacement along one axis: the query's rows `seen` are laid on the training image's rows `pool`."""

    seen: Int64[Tensor, " h"]
    pool: slice
    matches: tuple[Match | None, ...]  # one a patch size; None where that size has no pair under this shift

    def only(self, patch_sizes: Sequence[int]) -> Shift:
        """The same for some of the patch sizes, by their place in `matches`."""
        return replace(self, matches=tuple(self.matches[place] for place in patch_sizes))

    def to(self, device: torch.device) -> Shift:
        """The same on another device."""
        return Shift(self.seen.to(device), self.pool, tuple(match and match.to(device) for match in self.matches))


Rule = Literal["same position", "same border", "anywhere", "anywhere inside"]
AxisRule = Rule | Literal["inside", "at the border"]


def _admitted(rule: AxisRule, p: Tensor, q: Tensor, side: int, radius: int) -> Tensor:
    """Which of the pairs of a query row p and a training row q may match."""
    match rule:
        case "same position":
            return p == q
        case "same border":
            return _admitted("inside", p, q, side, radius) | _admitted("at the border", p, q, side, radius)
        case "inside":
            return _inside(p, side, radius) & _inside(q, side, radius)
        case "at the border":
            return (p == q) & ~_inside(q, side, radius)
        case "anywhere":
            return torch.ones_like(q, dtype=torch.bool)
        case "anywhere inside":
            return _inside(q, side, radius)


def admitted_pairs(rule: Rule, shape: Sequence[int], patch_size: int) -> int:
    """The most positions of one training image that any pixel of a query may match; `shape` is (H, W)."""
    if rule == "same position":
        return 1
    beyond = 0 if rule == "anywhere" else patch_size // 2
    return max(1, math.prod(max(0, side - 2 * beyond) for side in shape), *(side - 2 * beyond for side in shape))


def admitted_places(rule: Rule, shape: Sequence[int], patch_size: int) -> Int64[Tensor, "H W"]:
    """How many positions of one training image each pixel may match; `shape` is (H, W)."""
    rows, columns = (
        _admitted(rule, torch.arange(side)[:, None], torch.arange(side).expand(side, side), side, patch_size // 2).sum(1)
        for side in shape
    )
    return rows[:, None] * columns


def _inside(rows: Tensor, side: int, radius: int) -> Tensor:
    return (rows >= radius) & (rows < side - radius)


@lru_cache(maxsize=256)
def shifts(rule: AxisRule, side: int, patch_sizes: tuple[int, ...]) -> list[Shift]:
    """Every cyclic displacement under which `rule` admits a pair, cropped to the rows that some window sees.

    The two ends of an axis are shifts of their own: between them there is nothing to look at.
    """
    torus = rule == "anywhere"
    rows = torch.arange(side)
    parts = (rows < side // 2, rows >= side // 2) if rule == "at the border" else (rows >= 0,)
    found = []
    for d, part in product(range(side), parts):
        query = (rows - d) % side
        admitted = [(part & _admitted(rule, query, rows, side, size // 2)).nonzero()[:, 0] for size in patch_sizes]
        reach = [
            (int(q[0]) - size // 2, int(q[-1]) + size // 2) for q, size in zip(admitted, patch_sizes, strict=True) if len(q)
        ]
        if not reach:
            continue
        low, high = max(0, min(r[0] for r in reach)), min(side, max(r[1] for r in reach) + 1)
        pool = slice(0, side) if torus else slice(low, high)
        matches = tuple(_match(q, query, pool, size // 2, side, torus) for q, size in zip(admitted, patch_sizes, strict=True))
        found.append(Shift(query[pool], pool, matches))
    return found


def _match(q: Tensor, query: Tensor, pool: slice, radius: int, side: int, torus: bool) -> Match | None:
    if len(q) == 0:
        return None
    first, last = int(q[0]), int(q[-1])
    low, high = max(first - radius, 0), min(last + radius + 1, side)
    seen = slice(low - pool.start, high - pool.start)
    radius = min(radius, side - 1)
    beyond = (max(radius - first, 0), max(last + radius + 1 - side, 0))
    return Match(radius, torus, beyond, seen, slice(first, last + 1), q - first, query[q])
