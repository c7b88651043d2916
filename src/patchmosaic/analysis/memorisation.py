"""Is a model copying its data, and from where: each image beside the two training images nearest to it.

    ratio   ‖x - phi_1‖ / ‖x - phi_2‖, the nearest training image over the second nearest: near 0 for a copy, near 1 for an
            image as far from one as from the next; below 1/3 is a copy (Yoon et al. 2023, Gu et al. 2023)

What is normal is told by real images: some are set aside, and measured against the rest of the pool. Where a pool holds an
image in several slightly different versions, a copy is as near to one as to another, and only its distance gives it away.

References:
    Yoon, Choi, Kwon & Ryu 2023, "Diffusion probabilistic models generalize when they fail to memorize".
    Gu, Du, Pang, Li, Lin & Wang 2023, "On memorization in diffusion models".
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from jaxtyping import Bool, Float, Float64
from torch import Tensor

from patchmosaic.analysis.neighbours import Neighbours, nearest, set_aside
from patchmosaic.data.imageset import ImageSet
from patchmosaic.progress import Progress, silent

COPY_THRESHOLD = 1 / 3
HELD_OUT = 256  # real images to compare with, where the pool has as many to spare
NAMED = 5  # copied training images in the sentence that sums up


def nearest_ratios(images: Float[Tensor, "S C H W"], pool: ImageSet) -> Float64[Tensor, " S"]:
    """Distance to the nearest image of the pool over that to the second nearest; 0 where both are 0.

    Raises:
        ShapeError: images of another shape than the pool's, or none.
        DataError: the pool has one image only.
    """
    return nearest(images, pool).ratio


@dataclass(frozen=True)
class Memorisation:
    """Which images are copies, and of what.

    Attributes:
        images: the nearest training images of the S images in question.
        held_out: those of real images in the rest of the pool: what is normal.
        pool: the training images.
    """

    images: Neighbours
    held_out: Neighbours
    pool: ImageSet

    @property
    def copies(self) -> Bool[Tensor, " S"]:
        """Which images are copies."""
        return self.images.ratio < COPY_THRESHOLD

    @property
    def copy_rate(self) -> float:
        """The share of copies."""
        return float(self.copies.double().mean())

    @property
    def held_out_copy_rate(self) -> float:
        """The share of real images that would be taken for copies of others."""
        return float((self.held_out.ratio < COPY_THRESHOLD).double().mean())

    @property
    def rank(self) -> Float64[Tensor, " S"]:
        """The share of real images with a smaller ratio than each image's: near 0 for what is nearer than real images are."""
        return (self.held_out.ratio[None] < self.images.ratio[:, None]).double().mean(1)

    @property
    def sources(self) -> dict[int, int]:
        """Position of each training image that is copied, and how often, the most copied first."""
        counts = Counter(self.images.index[self.copies, 0].tolist())
        return dict(sorted(counts.items(), key=lambda source: (-source[1], source[0])))

    def table(self) -> dict[str, list[Any]]:
        """Column -> values, one an image: its nearest training images, where they were moved to, and what that says."""
        table: dict[str, list[Any]] = {"image": list(range(len(self.images))), "copy": self.copies.tolist()}
        table |= {"nearest": self.images.index[:, 0].tolist(), "distance": self.images.distance[:, 0].tolist()}
        table |= {"second": self.images.index[:, 1].tolist(), "second_distance": self.images.distance[:, 1].tolist()}
        table |= {"ratio": self.images.ratio.tolist(), "real_images_below": self.rank.tolist()}
        table |= {"shift_down": self.images.shift[:, 0, 0].tolist(), "shift_right": self.images.shift[:, 0, 1].tolist()}
        if self.pool.labels is not None:
            table["nearest_label"] = self.pool.labels[self.images.index[:, 0]].tolist()
        return table

    def to_json(self) -> dict[str, Any]:
        """The numbers, as JSON-able data."""
        return {
            "images": len(self.images),
            "pool": {"images": len(self.pool), "content_hash": self.pool.content_hash},
            "threshold": COPY_THRESHOLD,
            "copies": int(self.copies.sum()),
            "copy_rate": self.copy_rate,
            "sources": [{"training_image": source, "copies": copies} for source, copies in self.sources.items()],
            "median_ratio": _median(self.images.ratio),
            "median_distance": _median(self.images.distance[:, 0]),
            "held_out": {
                "images": len(self.held_out),
                "copy_rate": self.held_out_copy_rate,
                "median_ratio": _median(self.held_out.ratio),
                "median_distance": _median(self.held_out.distance[:, 0]),
                "ratios": self.held_out.ratio.tolist(),
            },
            "per_image": self.table(),
        }

    def __str__(self) -> str:
        """The verdict in words."""
        count = int(self.copies.sum())
        copied = [f"{source} ({times} times)" if times > 1 else str(source) for source, times in self.sources.items()]
        more = f" and {len(copied) - NAMED} more" if len(copied) > NAMED else ""
        origin = f", of training image{'s' * (len(copied) > 1)} {', '.join(copied[:NAMED])}{more}" if copied else ""
        return (
            f"{count} of {len(self.images)} images {'is a copy' if count == 1 else 'are copies'}{origin}. "
            f"Of {len(self.held_out)} real images held out, {self.held_out_copy_rate:.0%} look like copies of others. "
            f"Nearest over second nearest training image: median {_median(self.images.ratio):.2f}, "
            f"of real images {_median(self.held_out.ratio):.2f}; a copy is below {COPY_THRESHOLD:.2f}."
        )


def memorisation(
    images: Float[Tensor, "S C H W"],
    pool: ImageSet,
    *,
    held_out: int = HELD_OUT,
    reach: int = 0,
    seed: int = 0,
    progress: Progress = silent,
) -> Memorisation:
    """Compare images with the training images, and real images with each other.

    Args:
        images: what a model drew, in [-1, 1].
        pool: what it was trained on.
        held_out: real images to set aside from the pool for comparison; at most a fifth of it.
        reach: by how many pixels a training image may be moved along each axis, circularly: equivariant machines copy moved
            images too. From half the side up, anywhere.
        seed: which real images are set aside.

    Raises:
        ShapeError: images of another shape than the pool's, or none.
        DataError: fewer than five training images.
    """
    aside, rest = set_aside(pool, held_out, seed)
    mine = nearest(images, pool, reach=reach, progress=progress)
    real = nearest(pool.at(aside), pool, index=rest, reach=reach, progress=_named(progress))
    return Memorisation(mine, real, pool)


def _named(progress: Progress) -> Progress:
    def told(what: str, done: int, total: int) -> None:
        progress(f"{what} of real ones", done, total)

    return told


def _median(values: Float64[Tensor, " n"]) -> float:
    return float(values.quantile(0.5))
