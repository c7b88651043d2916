"""Softmax over patches under the rule "same border", in plain torch: attention inside, box sums at the border.

The pixels of an image fall into three sets; each has a rule for its row and one for its column:

    same border  =  inside x inside  +  at the border x same border  +  inside x at the border

A pixel whose window lies inside matches (H - P + 1) (W - P + 1) patches of each image: work for matrix products, `attention`.
Any other matches no more than one row of them or one column. For so few displacements `box_sums` are cheap, and sum what is
left of windows that the border cuts. A patch size larger than the image leaves no pixel inside.
"""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Float, Float64, Int64
from torch import Tensor

from patchmosaic.engine.attention import attends, attention_footprint, attention_posteriors, products_error
from patchmosaic.engine.box_sums import box_sum_footprint, box_sum_posteriors
from patchmosaic.engine.matching import AxisRule
from patchmosaic.engine.memory import WIDEST, Footprint, StoredImages
from patchmosaic.engine.posterior import PosteriorSum
from patchmosaic.engine.precision import log_weight_error

BORDER: tuple[tuple[AxisRule, AxisRule], ...] = (("at the border", "same border"), ("inside", "at the border"))


def has_inside(image_shape: Sequence[int], patch_sizes: Sequence[int]) -> bool:
    """Whether some pixel's window lies inside the image, so that there is work for attention."""
    return bool(_within(image_shape, patch_sizes))


def border_posteriors(
    queries: Float[Tensor, "B C H W"],
    precision: Float[Tensor, " B"],
    images: StoredImages,
    index: Int64[Tensor, " n"] | None,
    patch_sizes: tuple[int, ...],
    memory_budget: int,
) -> list[PosteriorSum]:
    """For each patch size, the posterior of every pixel over the centres of its patches, in the dtype of `queries`.

    A last channel holds the sum of the squares of the others, for `PosteriorSum.read_off`. Arguments are those of
    `box_sum_posteriors`, for which `has_inside` holds.

    Raises:
        MemoryBudgetError: `memory_budget` bytes do not hold one image against one query.
    """
    shape, asked = queries.shape[1:], (queries, precision, images, index)
    border_footprint(shape, patch_sizes).images_at_once(len(queries), 1, memory_budget, queries.device)
    room = memory_budget - len(queries) * _found(shape, patch_sizes)
    ends, sides = (
        box_sum_posteriors(*asked, rows, patch_sizes, room, column_rule=columns, squares=True) for rows, columns in BORDER
    )
    whole = [state.merge_(other) for state, other in zip(ends, sides, strict=True)]
    within = _within(shape, patch_sizes)
    inside = attention_posteriors(*asked, "inside", tuple(patch_sizes[place] for place in within), room)
    for place, state in zip(within, inside, strict=True):
        whole[place].merge_(state)
    return whole


def border_footprint(image_shape: Sequence[int], patch_sizes: Sequence[int]) -> Footprint:
    """Bytes that `border_posteriors` needs: its parts follow one another, and what is found stays."""
    ends = box_sum_footprint(image_shape, len(patch_sizes))
    inside = attention_footprint(image_shape, [patch_sizes[place] for place in _within(image_shape, patch_sizes)], "inside")
    return Footprint(
        pair=max(ends.pair, inside.pair),
        query=max(ends.query, inside.query) + _found(image_shape, patch_sizes),
        image=max(ends.image, inside.image),
    )


def read_off_border(
    state: PosteriorSum, queries: Float[Tensor, "B C H W"], precision: Float64[Tensor, " B"], patch_size: int
) -> tuple[PosteriorSum, Float64[Tensor, " B"]]:
    """The posterior without its sum of squares, and the relative L2 error that rounding leaves in its mean.

    Log-weights of a pixel err as those of products do, or those of squared differences: by what served it.
    """
    error = log_weight_error(state, queries, precision)
    if _within(queries.shape[1:], [patch_size]):
        radius, (height, width) = patch_size // 2, queries.shape[2:]
        inside = ..., slice(radius, height - radius), slice(radius, width - radius)
        error[inside] = products_error(state, queries, precision, patch_size)[inside]
    return state.read_off(error)


def _within(image_shape: Sequence[int], patch_sizes: Sequence[int]) -> list[int]:
    """The places of the patch sizes that have pixels inside."""
    return [place for place, size in enumerate(patch_sizes) if attends("inside", image_shape, [size])]


def _found(image_shape: Sequence[int], patch_sizes: Sequence[int]) -> int:
    """Bytes of the states of a query."""
    channels, height, width = image_shape
    return WIDEST * height * width * (channels + 3) * len(patch_sizes)
