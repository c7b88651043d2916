"""Counting limbs: what sticks out of the body of a light figure on dark ground.

The body is the figure's opening, the union of all discs inside it with a radius of at least 0.65 times the largest's. Let d(p)
be the distance of a pixel p of the figure from the body. A limb is a hill of d: as the level r falls from the farthest tip to
0, a hill appears where {d > r} gains a component and ends where it runs into a higher one. It counts if it rises above that
pass by at least a quarter of the longest limb (its persistence, in the words of topology). So a forked limb counts twice, a
wavy outline does not count, and a piece that came off counts if it is as long.

Grey images are cut at three thresholds between ground and figure; the middle count of the three is told, and how many of them
agree.

References:
    Edelsbrunner, Letscher & Zomorodian 2002, "Topological persistence and simplification".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int64
from scipy import ndimage
from torch import Tensor

from patchmosaic.errors import ShapeError

UNREADABLE = -1  # the count of an image that shows no figure
FINER = 3  # subpixels a pixel and axis, on which shapes are measured
SMOOTHING = 0.45  # pixels: against noise, well below the gap between two fingers
THRESHOLDS = (0.4, 0.5, 0.6)  # between the ground's grey and the figure's
BODY = 0.65  # of the largest disc's radius
SHORTEST = 0.25  # of the longest limb
LEAST_CONTRAST = 0.5  # between ground and figure, of the 2 between black and white
LEAST_LENGTH = 0.5  # of the longest limb, in radii of the body's largest disc: less is a blob
AREAS = (0.02, 0.6)  # of the image that a figure may fill
LEAST_WHOLE = 0.7  # of the figure that must be one piece
Mask = Bool[np.ndarray, "H W"]


@dataclass(frozen=True)
class LimbCounts:
    """The limbs of some images.

    Attributes:
        counts: of each image; -1 where it is unreadable: blank, noise, a blob without limbs, or in pieces.
        confidence: the share of thresholds that give this count.
    """

    counts: Int64[Tensor, " n"]
    confidence: Float64[Tensor, " n"]

    @classmethod
    def middle_of(cls, counts: Int64[np.ndarray, "n thresholds"]) -> LimbCounts:
        """From the counts of each image at an odd number of thresholds."""
        middle = np.sort(counts, axis=1)[:, counts.shape[1] // 2]
        return cls(torch.from_numpy(middle), torch.from_numpy((counts == middle[:, None]).mean(1)))


def count_limbs(images: Float[Tensor, "n C H W"]) -> LimbCounts:
    """How many limbs the light figure in each image has.

    Args:
        images: in [-1, 1], one channel; fingers and the gaps between them at least a pixel wide.

    Raises:
        ShapeError: not grey images.
    """
    if images.ndim != 4 or images.shape[1] != 1:
        raise ShapeError("limbs are counted in grey images, (n, 1, H, W)", got=tuple(images.shape))
    return LimbCounts.middle_of(np.array([_counts(image) for image in images[:, 0].double().cpu().numpy()]))


def unwrapped(images: Float[Tensor, "n C H W"]) -> Float[Tensor, "n C H W"]:
    """Images on a torus, each shifted so that its darkest row and column come first: the border no longer cuts a figure."""
    shifted = []
    for image in images:
        light = image.sum(0)
        row, column = int(light.sum(1).argmin()), int(light.sum(0).argmin())
        shifted.append(image.roll((-row, -column), (1, 2)))
    return torch.stack(shifted)


def _counts(image: Float64[np.ndarray, "H W"]) -> list[int]:
    """The count at each threshold."""
    smooth = ndimage.zoom(ndimage.gaussian_filter(image, SMOOTHING), FINER, order=3, mode="nearest", grid_mode=True)
    ground, figure = np.quantile(smooth, 0.2), np.quantile(smooth, 0.98)
    if figure - ground < LEAST_CONTRAST:
        return [UNREADABLE] * len(THRESHOLDS)
    return [_limbs(smooth > ground + threshold * (figure - ground)) for threshold in THRESHOLDS]


def _limbs(figure: Mask) -> int:
    pieces, _ = ndimage.label(figure, np.ones((3, 3)))
    sizes = np.bincount(pieces.flat)[1:]
    if not AREAS[0] < figure.mean() < AREAS[1] or sizes.max() < LEAST_WHOLE * sizes.sum():
        return UNREADABLE
    depth = ndimage.distance_transform_edt(np.pad(figure, 1))[1:-1, 1:-1]  # what lies outside the image is ground
    radius = depth.max()
    body = ndimage.distance_transform_edt(depth < BODY * radius) < BODY * radius
    distance = np.where(figure, ndimage.distance_transform_edt(~body), 0.0)
    if distance.max() < LEAST_LENGTH * radius:
        return UNREADABLE
    return int((persistence(distance) >= SHORTEST * distance.max()).sum())


def persistence(height: Float64[np.ndarray, "H W"]) -> Float64[np.ndarray, " hills"]:
    """How far each hill of a landscape rises above the pass to a higher one, or above the foot of the island it crowns.

    Land is where the height is above 0; pixels that share a side or a corner touch. From the highest pixel down, each joins the
    hill of its higher neighbours; where these are several, it is the pass at which all but the highest end.
    """
    padded = np.pad(height, 1)
    width, levels = padded.shape[1], padded.ravel()
    land = np.flatnonzero(levels > 0)
    land = land[np.argsort(-levels[land], kind="stable")]
    steps = (-width - 1, -width, -width + 1, -1, 1, width - 1, width, width + 1)
    above: dict[int, int] = {}  # pixel -> another of its hill, nearer to the summit, which leads to itself
    foot: dict[int, float] = {}  # summit -> the lowest level that its hill has reached
    rises = []
    for pixel in land.tolist():
        hills = set()
        for step in steps:
            if (top := pixel + step) in above:
                while above[top] != top:
                    above[top] = top = above[above[top]]
                hills.add(top)
        highest = max(hills, key=lambda top: float(levels[top]), default=pixel)
        above[pixel], foot[highest] = highest, levels[pixel]
        for lower in hills - {highest}:
            above[lower] = highest
            rises.append(levels[lower] - levels[pixel])
            del foot[lower]
    return np.array([*rises, *(levels[top] - lowest for top, lowest in foot.items())])
