"""New arrangements of old patches: how far the patches of an image are from all training patches, size by size.

    d_P(p) = min_j ‖window of x at p - window of phi_j‖ / sqrt(numbers seen)       over the patches that p may match
    D_P    = sqrt(mean_p d_P(p)²)                                                  one number for a patch size
    D      = min_n ‖x - phi_n‖ / sqrt(C H W)                                       distance of the whole image
    A_P    = 1 - D_P / D                                                           novelty of arrangement; 0 for a copy

in units of pixel values, whose whole range is 2. A_P is near 1 where the patches are old and the image as a whole is new, and
falls to 0 as the windows come to cover the image. With patches from anywhere on the torus it lies in [0, 1]: a window's nearest
patch is at least as near as the same window of the nearest image. Windows cut at the border count inner pixels more often than
outer ones; there it may fall slightly below 0.

Real images that are set aside have new patches as well as new arrangements: their curve tells what is normal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from patchmosaic.analysis.neighbours import nearest, set_aside
from patchmosaic.data.imageset import ImageSet
from patchmosaic.engine.memory import DEFAULT_BUDGET
from patchmosaic.engine.patches import patch_footprint, patch_posteriors
from patchmosaic.errors import PatchSizeError, ShapeError
from patchmosaic.locality import check_patch_size
from patchmosaic.progress import Progress, silent
from patchmosaic.store import SeedStore

Where = Literal["same border", "anywhere"]

FAMILIAR = 0.05  # a patch is an old one below this distance: about 6 of 255 grey levels
HELD_OUT = 16
# The distance is the same whatever the temperature; at a low one the engine measures what counts as a difference.
PRECISION = 2.0**21


def patch_distances(
    images: Float[Tensor, "S C H W"],
    pool: ImageSet,
    patch_sizes: Sequence[int],
    *,
    where: Where = "same border",
    index: Int64[Tensor, " n"] | None = None,
    memory_budget: int = DEFAULT_BUDGET,
) -> Float64[Tensor, "K S H W"]:
    """d_P(p) of every pixel for every patch size, exactly, over the whole pool.

    Args:
        images: in [-1, 1].
        patch_sizes: odd; larger than the image is whole.
        where: "same border", windows are cut at the border and match patches that meet it alike, as in the bbELS machine;
            "anywhere", images are tori, as in ELS.
        index: the training images that count; None for all.

    Raises:
        ShapeError: images of another shape than the pool's, or none.
        PatchSizeError: a size that is not odd and positive, or none.
        MemoryBudgetError: `memory_budget` bytes do not hold one image against one query.
    """
    if tuple(images.shape[1:]) != pool.image_shape or len(images) == 0:
        raise ShapeError(f"images must be (S, C, H, W) of {pool.image_shape}", got=tuple(images.shape))
    if not patch_sizes:
        raise PatchSizeError("there must be a patch size", got="none")
    sizes = tuple(check_patch_size(size) for size in patch_sizes)
    count = len(pool) if index is None else len(index)
    footprint = patch_footprint(pool.image_shape, sizes, where, pool.stored.device)
    at_once = footprint.queries_at_once(len(images), count, memory_budget, pool.stored.device)
    parts = []
    for queries in images.double().cpu().split(at_once):
        precision = torch.full((len(queries),), PRECISION, dtype=torch.float64)
        states = patch_posteriors(queries, precision, pool.stored, index, where, sizes, torch.float64, memory_budget)
        # The largest log-weight is the least distance.
        parts.append(torch.stack([-2 / PRECISION * state.m for state in states]))
    squares = torch.cat(parts, 1).clamp_min(0)
    seen = torch.stack([_seen(pool.image_shape, size, where) for size in sizes])
    return (squares / seen[:, None]).sqrt()


@dataclass(frozen=True)
class PatchNovelty:
    """How new some images are.

    Attributes:
        distances: (K, S, H, W) d_P(p) for each patch size.
        whole: (S,) D, the distance to the nearest training image.
    """

    distances: Float64[Tensor, "K S H W"]
    whole: Float64[Tensor, " S"]

    @property
    def distance(self) -> Float64[Tensor, "K S"]:
        """D_P of each image."""
        return self.distances.square().mean((2, 3)).sqrt()

    @property
    def arrangement(self) -> Float64[Tensor, "K S"]:
        """A_P of each image; 0 for copies."""
        return torch.where(self.whole > 0, 1 - self.distance / self.whole, 0.0)

    @property
    def familiar(self) -> Float64[Tensor, "K S"]:
        """The share of each image's patches that are nearly in the training set."""
        return (self.distances <= FAMILIAR).double().mean((2, 3))

    def summary(self) -> dict[str, Any]:
        """Means over images, one a patch size, and the single images' numbers."""
        return {
            "images": len(self.whole),
            "whole": self.whole.tolist(),
            **{
                name: {"mean": values.mean(1).tolist(), "per_image": values.T.tolist()}
                for name, values in (
                    ("distance", self.distance),
                    ("arrangement", self.arrangement),
                    ("familiar", self.familiar),
                )
            },
        }


@dataclass(frozen=True)
class Novelty:
    """Images beside real images that were set aside.

    Attributes:
        patch_sizes: the K sizes.
        images, held_out: their novelty.
    """

    patch_sizes: tuple[int, ...]
    images: PatchNovelty
    held_out: PatchNovelty

    def to_json(self) -> dict[str, Any]:
        """The numbers, as JSON-able data."""
        return {
            "patch_sizes": list(self.patch_sizes),
            "familiar_below": FAMILIAR,
            "images": self.images.summary(),
            "held_out": self.held_out.summary(),
        }


def novelty(
    images: Float[Tensor, "S C H W"],
    pool: ImageSet,
    patch_sizes: Sequence[int] = (3, 5, 9, 17),
    *,
    held_out: int = HELD_OUT,
    where: Where = "same border",
    seed: int = 0,
    memory_budget: int = DEFAULT_BUDGET,
    keep: Path | None = None,
    progress: Progress = silent,
) -> Novelty:
    """Measure images against the training patches, and real images that are set aside against the patches of the rest.

    Args:
        images: in [-1, 1].
        pool: the training images.
        held_out: how many real images to set aside; at most a fifth of the pool.
        seed: which are set aside.
        keep: a folder that remembers finished images.

    Other arguments and errors as for `patch_distances`, and:

    Raises:
        DataError: fewer than five training images.
    """
    aside, rest = set_aside(pool, held_out, seed)
    reach = max(pool.image_shape) if where == "anywhere" else 0
    sizes = tuple(patch_sizes)

    def measured(name: str, images: Tensor, index: Tensor | None) -> PatchNovelty:
        described = {"pool": pool.content_hash, "patch_sizes": list(sizes), "where": where}
        described |= {"images": ImageSet(images.clamp(-1, 1)).content_hash}
        described |= {"set aside": [] if index is None else aside.tolist()}
        store = SeedStore(keep, name.replace(" ", "-"), described)
        keys = [(i, None) for i in range(len(images))]
        missing = store.missing(keys)
        for done, key in enumerate(missing):
            image = images[key[0] : key[0] + 1]
            store.put(key, patch_distances(image, pool, sizes, where=where, index=index, memory_budget=memory_budget)[:, 0])
            progress(name, done + 1, len(missing))
        return PatchNovelty(store.get(keys).transpose(0, 1), nearest(images, pool, index=index, reach=reach).distance[:, 0])

    return Novelty(sizes, measured("novelty", images, None), measured("novelty of real images", pool.at(aside), rest))


def _seen(image_shape: tuple[int, int, int], patch_size: int, where: Where) -> Float64[Tensor, "H W"]:
    """How many numbers the window of each pixel holds."""
    channels, height, width = image_shape
    if where == "anywhere":
        count = channels * min(patch_size, height) * min(patch_size, width)
        return torch.full((height, width), count, dtype=torch.float64)
    rows, columns = (_cut(side, patch_size // 2) for side in (height, width))
    return channels * rows[:, None] * columns


def _cut(side: int, radius: int) -> Float64[Tensor, " side"]:
    """How many pixels of a row lie within `radius` of each."""
    places = torch.arange(side)
    return ((places[:, None] - places).abs() <= radius).sum(1).double()
