"""The families on images: what each is made from, and which law is known of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from patchmosaic.data.imageset import ImageSet
from patchmosaic.denoisers import (
    BoundaryBrokenDenoiser,
    CodebookDenoiser,
    Denoiser,
    IdealDenoiser,
    KernelDensityDenoiser,
    LinearEncoderDenoiser,
    LocalLinearDenoiser,
    LocalStationaryDenoiser,
    NearestDenoiser,
    PatchCompositeDenoiser,
    PatchPolynomialDenoiser,
    PCALocalityDenoiser,
    RandomFeatureDenoiser,
    SeparablePolynomialDenoiser,
    SmoothedDenoiser,
    SoftWindowDenoiser,
    StationaryDenoiser,
    WienerDenoiser,
)
from patchmosaic.denoisers.relatives.soft_window import gaussian_window
from patchmosaic.experiments.architectures.variants import SCHEDULE, Scale
from patchmosaic.experiments.families.small_targets import Known
from patchmosaic.locality import LocalityScale

# Noise levels, and how far a pixel sees there, in sides of the image beyond 3 pixels: about what networks were found to see.
LEVELS, REACH = (0.15, 0.4, 0.8, 1.6), (0.0, 0.1, 0.2, 0.3)

# `full` is for a machine that is not needed for some hours.
SCALES = {"cpu": Scale(images=500, held_out=1000, seeds=64), "full": Scale(images=5000, held_out=5000, seeds=512)}


@dataclass(frozen=True)
class Family:
    """A denoiser of images.

    Attributes:
        kind, name: the family, and which of it.
        make: images -> the denoiser.
        known: of which number of steps its law is known, if it is.
    """

    kind: str
    name: str
    make: Callable[[ImageSet], Denoiser]
    known: Known | None = None

    @property
    def title(self) -> str:
        """The name by which tables and pictures call it."""
        return f"{self.kind}: {self.name}"


def image_families() -> list[Family]:
    """All of them, from those that know least of the images to those that copy them."""
    how: dict[str, Any] = {"schedule": SCHEDULE}
    return [
        Family("linear", "full (Wiener)", lambda pool: WienerDenoiser(pool, **how), "steps"),
        Family("linear", "rank 8", lambda pool: WienerDenoiser(pool, rank=8, **how), "steps"),
        Family("linear", "stationary", lambda pool: StationaryDenoiser(pool, **how), "steps"),
        Family("linear", "5 x 5", lambda pool: LocalLinearDenoiser(pool, 5, **how), "steps"),
        Family("linear", "5 x 5, stationary", lambda pool: LocalStationaryDenoiser(pool, 5, **how), "steps"),
        Family("polynomial", "separable, degree 3", lambda pool: SeparablePolynomialDenoiser(pool, 3, **how)),
        Family("polynomial", "powers, degree 3", lambda pool: RandomFeatureDenoiser(pool, 3, 256, **how)),
        Family("polynomial", "windows, degree 3", lambda pool: PatchPolynomialDenoiser(pool, 3, sizes(pool), 48, **how)),
        Family("bottleneck", "2 numbers", lambda pool: LinearEncoderDenoiser(pool, 2, **how), "limit"),
        Family("bottleneck", "8 numbers", lambda pool: LinearEncoderDenoiser(pool, 8, **how), "limit"),
        Family("bottleneck", "32 codes", lambda pool: CodebookDenoiser(pool, 32, cloud=1024, **how), "steps"),
        Family("patches", "bbELS", lambda pool: BoundaryBrokenDenoiser(pool, sizes(pool), **how)),
        Family("patches", "composite (PSPC)", lambda pool: PatchCompositeDenoiser(pool, sizes(pool), **how)),
        Family("patches", "PCA locality", lambda pool: PCALocalityDenoiser(pool, **how)),
        Family("patches", "soft window", lambda pool: SoftWindowDenoiser(pool, soft_windows(pool), **how)),
        Family("whole images", "smoothed IS", lambda pool: SmoothedDenoiser(IdealDenoiser(pool, **how), spacing(pool) / 4)),
        Family("whole images", "KDE, h = 0.2", lambda pool: KernelDensityDenoiser(pool, 0.2, **how), "limit"),
        Family("whole images", "nearest", lambda pool: NearestDenoiser(pool, **how)),
        Family("whole images", "IS", lambda pool: IdealDenoiser(pool, **how), "limit"),
    ]


def sizes(pool: ImageSet) -> LocalityScale:
    """Patch sizes for images of this side."""
    side = min(pool.image_shape[1:])
    return LocalityScale(LEVELS, tuple(3 + 2 * round(side * reach / 2) for reach in REACH))


def spacing(pool: ImageSet, count: int = 256) -> float:
    """How far an image is from the one nearest to it: the median over the first `count`."""
    points = pool.at(slice(None), torch.float64).flatten(1)
    distances = torch.cdist(points[:count], points).topk(2, largest=False).values[:, 1]
    return float(distances.median())


def soft_windows(pool: ImageSet) -> dict[float, torch.Tensor]:
    """Gaussian windows, each with the sum of the weights of a square one of the size in `sizes`."""
    scale = sizes(pool)
    windows = {}
    for level, size in zip(scale.noise_levels, scale.patch_sizes, strict=True):
        window = gaussian_window(size / 4, 2 * size - 1)
        windows[level] = window * size**2 / window.sum()
    return windows
