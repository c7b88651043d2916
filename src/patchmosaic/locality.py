"""LocalityScale: how large a patch a pixel sees at each noise level.

A network's *receptive field* is what it could see; the *locality scale* is the patch size of the analytic denoiser that
matches it best. It is large at high noise and shrinks to 3 as the noise goes (Kamb & Ganguli 2024, section 5).

The scale is keyed by noise level sigma_t / alpha_t, not by step: it means the same for any schedule and any number of steps.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

from patchmosaic.errors import CheckpointError, NoiseLevelError, PatchSizeError
from patchmosaic.files import read_json, write_json
from patchmosaic.noise import NoiseSchedule

# alpha_t may be 0 at t = 1, where the noise level is infinite: it is kept as this number, beyond every finite schedule.
LARGEST_NOISE_LEVEL = 1e6


@dataclass(frozen=True)
class LocalityScale:
    """Patch sizes at increasing noise levels; between two levels the nearer one, on a log scale, decides.

    Args:
        noise_levels: sigma / alpha, positive, strictly increasing.
        patch_sizes: odd, one for each noise level.

    Raises:
        NoiseLevelError: levels that are not positive and increasing, or not one for each patch size.
        PatchSizeError: a patch size that is not odd and positive.
    """

    noise_levels: tuple[float, ...]
    patch_sizes: tuple[int, ...]

    def __post_init__(self) -> None:
        levels = tuple(min(float(level), LARGEST_NOISE_LEVEL) for level in self.noise_levels)
        object.__setattr__(self, "noise_levels", levels)
        object.__setattr__(self, "patch_sizes", tuple(check_patch_size(size) for size in self.patch_sizes))
        if len(levels) != len(self.patch_sizes) or not levels:
            raise NoiseLevelError(
                "a locality scale has one patch size for each noise level",
                got=f"{len(levels)} levels and {len(self.patch_sizes)} sizes",
            )
        if not levels[0] > 0 or any(not low < high for low, high in pairwise(levels)):
            raise NoiseLevelError("noise levels must be positive and strictly increasing", got=levels)

    @classmethod
    def from_steps(cls, schedule: NoiseSchedule, patch_sizes: tuple[int, ...] | list[int]) -> LocalityScale:
        """The scale of published tables: `patch_sizes[i]` belongs to t = (i + 1) / len(patch_sizes) of `schedule`."""
        count = len(patch_sizes)
        levels = tuple(float(schedule.noise_level((step + 1) / count)) for step in range(count))
        return cls(levels, tuple(patch_sizes))

    @classmethod
    def shrinking(cls, schedule: NoiseSchedule, side: int, steps: int) -> LocalityScale:
        """Odd sizes from 3 at the lowest noise up to the image side, in equal strides: no network's, but of their shape."""
        largest = max(3, side - 1 + side % 2)
        return cls.from_steps(schedule, [3 + 2 * round((largest - 3) / 2 * step / max(steps - 1, 1)) for step in range(steps)])

    def __call__(self, noise_level: float) -> int:
        """The patch size at `noise_level` = sigma / alpha (may be infinite)."""
        return self.patch_sizes[self.noise_levels.index(nearest_level(self.noise_levels, noise_level))]

    def monotone(self) -> LocalityScale:
        """The smallest scale above this one that never shrinks as the noise grows."""
        return LocalityScale(self.noise_levels, tuple(accumulate(self.patch_sizes, max)))

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary from which `from_json` rebuilds the scale."""
        return {"noise_levels": list(self.noise_levels), "patch_sizes": list(self.patch_sizes)}

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> LocalityScale:
        """Rebuild the scale that `to_json` described.

        Raises:
            CheckpointError: the record is not a locality scale.
        """
        try:
            return cls(tuple(record["noise_levels"]), tuple(record["patch_sizes"]))
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(
                "not a locality scale",
                got=str(record)[:80],
                hint='Expected {"noise_levels": [...], "patch_sizes": [...]}.',
            ) from error

    def save(self, path: str | Path) -> None:
        """Write the scale as JSON."""
        write_json(Path(path), self.to_json())

    @classmethod
    def load(cls, path: str | Path) -> LocalityScale:
        """Read a scale written by `save`."""
        return cls.from_json(read_json(Path(path), hint="`patchmosaic calibrate` writes locality scales."))


def nearest_level(levels: Iterable[float], noise_level: float) -> float:
    """Of some positive noise levels the one nearest to `noise_level` on a log scale; infinity counts as the largest."""
    asked = math.log(min(max(noise_level, 1e-12), LARGEST_NOISE_LEVEL))
    return min(levels, key=lambda level: abs(math.log(level) - asked))


def check_patch_size(patch_size: int) -> int:
    """`patch_size` itself, if it is an odd whole number from 1 up; else PatchSizeError."""
    if isinstance(patch_size, bool) or patch_size != int(patch_size) or patch_size < 1 or patch_size % 2 == 0:
        near = max(1, int(patch_size) - 1 + int(patch_size) % 2)
        raise PatchSizeError(
            "patch_size must be odd and at least 1",
            got=patch_size,
            hint=f"Try {near} or {near + 2}; for whole images, IdealDenoiser.",
        )
    return int(patch_size)
