"""The training images nearest to given images, exactly, also under translation.

    d(x, phi) = min over s of ‖x - T_s phi‖ / sqrt(C H W)            T_s phi is phi moved by s = (down, right), circularly

in units of pixel values, whose whole range is 2. All s = 0 unless translations are asked for.

Squares expanded, ‖x‖² + ‖phi‖² - 2 x·phi, make all distances to a pool one matrix product, for all translations a Fourier
transform. In float64 that tells who is near; how near the nearest are is then measured as a difference, because the expansion
loses the digits that tell a copy.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from patchmosaic.data.imageset import ImageSet
from patchmosaic.engine.memory import scanned
from patchmosaic.errors import DataError, ShapeError
from patchmosaic.progress import Progress, silent

AT_ONCE = 64  # images that meet the pool together
SCREENED = 8  # of the nearest by expanded squares, whose distances are then measured
LARGEST_SHARE = 5  # at most a fifth of a pool is set aside


@dataclass(frozen=True)
class Neighbours:
    """The two training images nearest to each of S images.

    Attributes:
        index: (S, 2) their positions in the pool, the nearest first.
        distance: (S, 2) root mean square difference over pixels and channels.
        shift: (S, 2, 2) by how many pixels (down, right) the training image was moved to be so near.
    """

    index: Int64[Tensor, "S 2"]
    distance: Float64[Tensor, "S 2"]
    shift: Int64[Tensor, "S 2 2"]

    def __len__(self) -> int:
        return len(self.index)

    @property
    def ratio(self) -> Float64[Tensor, " S"]:
        """Distance to the nearest over that to the second nearest; 0 where both are 0."""
        first, second = self.distance.unbind(1)
        return torch.where(second > 0, first / second, 0.0)


def nearest(
    images: Float[Tensor, "S C H W"],
    pool: ImageSet,
    *,
    index: Int64[Tensor, " n"] | None = None,
    reach: int = 0,
    progress: Progress = silent,
) -> Neighbours:
    """The nearest and second nearest training image of each image; the second is another image, not the same one moved.

    Args:
        images: in [-1, 1].
        index: the positions of the training images that count; None for all.
        reach: by how many pixels a training image may be moved along each axis, circularly; from half the side up, anywhere.

    Raises:
        ShapeError: images of another shape than the pool's, or none.
        DataError: fewer than two training images.
    """
    if tuple(images.shape[1:]) != pool.image_shape or len(images) == 0:
        raise ShapeError(f"images must be (S, C, H, W) of {pool.image_shape}", got=tuple(images.shape))
    count = len(pool) if index is None else len(index)
    if count < 2:
        raise DataError("a second nearest image needs a pool of two", got=count)
    found = []
    for part in images.double().cpu().split(AT_ONCE):
        found.append(_nearest(part, pool, index, max(0, reach)))
        progress("nearest training images", sum(map(len, found)), len(images))
    return Neighbours(*(torch.cat([getattr(part, name) for part in found]) for name in ("index", "distance", "shift")))


def set_aside(pool: ImageSet, count: int, seed: int = 0) -> tuple[Int64[Tensor, " k"], Int64[Tensor, " n"]]:
    """Positions of `count` images drawn by `seed`, at most a fifth of the pool, and of the rest: real images to compare with.

    Raises:
        DataError: fewer than five images, or none to be set aside.
    """
    kept = min(count, len(pool) // LARGEST_SHARE)
    if kept < 1:
        raise DataError(
            f"images can be set aside from {LARGEST_SHARE} up, and at least one", got=f"{count} of {len(pool)} images"
        )
    order = torch.randperm(len(pool), generator=torch.Generator().manual_seed(seed))
    return order[:kept].sort().values, order[kept:].sort().values


def _nearest(images: Float64[Tensor, "b C H W"], pool: ImageSet, index: Tensor | None, reach: int) -> Neighbours:
    """The two nearest of the `SCREENED` nearest."""
    found, moved = _screened(images, pool, index, reach)
    candidates = pool.at(found.flatten(), torch.float64).unflatten(0, found.shape)  # (b, k, C, H, W)
    difference = images[:, None] - _moved(candidates, moved)
    distance = difference.square().flatten(2).mean(2).sqrt()  # (b, k)
    order = distance.argsort(dim=1, stable=True)[:, :2]
    return Neighbours(found.gather(1, order), distance.gather(1, order), moved.gather(1, order[..., None].expand(-1, -1, 2)))


def _screened(images: Tensor, pool: ImageSet, index: Tensor | None, reach: int) -> tuple[Tensor, Tensor]:
    """Position (b, k) and shift (b, k, 2) of the nearest by expanded squares."""
    norms = images.flatten(1).square().sum(1)  # (b,)
    found, squares = torch.empty(len(images), 0, dtype=torch.int64), images.new_empty(len(images), 0)
    moved = torch.empty(len(images), 0, 2, dtype=torch.int64)
    start = 0
    for block in scanned(pool.stored, index, torch.float64):
        products, shift = _products(images, block, reach)
        here = torch.arange(start, start + len(block)).expand(len(images), -1)
        start += len(block)
        expanded = norms[:, None] + block.flatten(1).square().sum(1) - 2 * products
        squares, order = torch.cat([squares, expanded], 1).topk(min(SCREENED, start), largest=False)
        found = torch.cat([found, here], 1).gather(1, order)
        moved = torch.cat([moved, shift], 1).gather(1, order[..., None].expand(-1, -1, 2))
    return (found if index is None else index[found]), moved


def _products(images: Tensor, block: Tensor, reach: int) -> tuple[Tensor, Tensor]:
    """x·T_s phi (b, n) at the best s within reach, and that s (b, n, 2)."""
    if reach == 0:
        return images.flatten(1) @ block.flatten(1).T, torch.zeros(len(images), len(block), 2, dtype=torch.int64)
    height, width = block.shape[2:]
    allowed = _within(reach, height)[:, None] & _within(reach, width)
    waves = torch.fft.rfft2(block).conj()
    products, places = [], []
    for image in images:  # queries take turns, so that the scratch is that of a block
        spectrum = (torch.fft.rfft2(image) * waves).sum(1)
        correlation = torch.fft.irfft2(spectrum, s=(height, width)).masked_fill(~allowed, -math.inf)
        product, place = correlation.flatten(1).max(1)
        products.append(product)
        places.append(torch.stack([_signed(place // width, height), _signed(place % width, width)], 1))
    return torch.stack(products), torch.stack(places)


def _within(reach: int, side: int) -> Tensor:
    return _signed(torch.arange(side), side).abs() <= reach


def _signed(shift: Tensor, side: int) -> Tensor:
    """A circular shift as the shorter of the two ways."""
    return (shift + side // 2) % side - side // 2


def _moved(images: Float64[Tensor, "b k C H W"], shift: Int64[Tensor, "b k 2"]) -> Float64[Tensor, "b k C H W"]:
    """Each image moved circularly by its own shift."""
    height, width = images.shape[3:]
    rows = (torch.arange(height) - shift[..., :1]) % height  # (b, k, H)
    columns = (torch.arange(width) - shift[..., 1:]) % width
    places = (rows[..., :, None] * width + columns[..., None, :]).flatten(2)  # (b, k, HW)
    places = places[:, :, None].expand(-1, -1, images.shape[2], -1)
    moved: Tensor = images.flatten(3).gather(3, places).unflatten(3, (height, width))
    return moved
