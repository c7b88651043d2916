"""Counting the legs of photographed trousers: the tall dark gaps in their lower part, and one.

Legs touch at the knees, fabric is shaded and patterned, and a gap is often a pixel wide and far from black; so a gap is told by
what stands on both sides of it. With u the lightness (0 to 1) of a row,

    level(x) = min(max of u to the left of x, max of u to the right),        a gap: u(x) < 0.9 level(x).

Gap pixels that touch are one gap. It parts two legs if, below the figure's upper 0.3, it is at least 0.3 of the figure tall
and somewhere darker than half its level. The legs are one more than the most such gaps that a row crosses. The numbers were
chosen on the first 600 trousers of Fashion-MNIST's training set.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float64
from scipy import ndimage
from torch import Tensor

from patchmosaic.analysis.limbs import UNREADABLE, LimbCounts
from patchmosaic.errors import ShapeError

SMOOTHING = (1.5, 0.3)  # pixels down and across: legs are upright, patterns are not
SHADE = 0.9  # of the level, below which a pixel may be of a gap
DEPTHS = (0.4, 0.5, 0.6)  # of the level, below which a gap must fall
TALL, UPPER = 0.3, 0.3  # of the figure's height
LIT = 0.2  # a row that reaches this is of the figure
LEAST_LEVEL = 0.15  # of what stands beside a gap; what is darker is ground
LEAST_HEIGHT = 0.4  # of the image: less is no pair of trousers
LEAST_WHOLE = 0.9  # of all that is lighter than that level, in one piece: less is scraps


def count_legs(images: Float[Tensor, "n C H W"]) -> LimbCounts:
    """How many legs the upright light garment in each image has; 1 where no gap is seen, as of a skirt.

    Args:
        images: in [-1, 1], one channel, as Fashion-MNIST's class 1.

    Returns:
        The middle of the counts with three depths of gap, and the share of these that agree with it.

    Raises:
        ShapeError: not grey images.
    """
    if images.ndim != 4 or images.shape[1] != 1:
        raise ShapeError("legs are counted in grey images, (n, 1, H, W)", got=tuple(images.shape))
    counts = np.array([_counts(image) for image in (images[:, 0].double().cpu().numpy().clip(-1, 1) + 1) / 2])
    return LimbCounts.middle_of(counts)


def _counts(lightness: Float64[np.ndarray, "H W"]) -> list[int]:
    """The count at each depth."""
    u = ndimage.gaussian_filter(lightness, SMOOTHING)
    rows = np.flatnonzero(u.max(1) > LIT)
    height = rows[-1] + 1 - rows[0] if len(rows) else 0
    sizes = np.bincount(ndimage.label(u > LEAST_LEVEL, np.ones((3, 3)))[0].flat)[1:]
    if height < LEAST_HEIGHT * len(u) or sizes.max() < LEAST_WHOLE * sizes.sum():
        return [UNREADABLE] * len(DEPTHS)
    level = np.minimum(np.maximum.accumulate(u, 1), np.maximum.accumulate(u[:, ::-1], 1)[:, ::-1])
    share = u / np.maximum(level, LEAST_LEVEL)
    dark = (share < SHADE) & (level > LEAST_LEVEL)
    dark[: rows[0] + int(UPPER * height)] = False
    gaps, _ = ndimage.label(dark, np.ones((3, 3)))
    places = enumerate(ndimage.find_objects(gaps), 1)
    tall = [gap for gap, (span, _) in places if span.stop - span.start >= TALL * height]
    deep = [[gap for gap in tall if share[gaps == gap].min() < depth] for depth in DEPTHS]
    return [1 + max(sum(gap in row for gap in found) for row in gaps) for found in deep]
