"""The patch polynomial: a pixel sees a window that shrinks with the noise, and a polynomial of its own tells its value.

    D_p(y) = the best affine map and random powers of the window of p at noise level sigma, fitted at that place of the images

It is to the random-feature polynomial what LS is to IS: position matters and what is far does not. Windows as large as the
image give the random-feature polynomial itself, and degree 1 the position-dependent linear denoiser, but for windows at the
border, which stay inside the image.

References:
    Levine & Weiss 2026, whose windows shrink from the whole image to 3 pixels.
"""

from __future__ import annotations

from typing import Any

from patchmosaic.data.imageset import ImageSet
from patchmosaic.denoisers.polynomial.base import LIMIT
from patchmosaic.denoisers.polynomial.random_features import RIDGE, RandomFeatureDenoiser
from patchmosaic.engine.memory import DEFAULT_BUDGET
from patchmosaic.locality import LocalityScale, check_patch_size
from patchmosaic.noise import NoiseSchedule


class PatchPolynomialDenoiser(RandomFeatureDenoiser):
    """A random-feature polynomial for every place of a window. Beside these arguments, see RandomFeatureDenoiser.

    Args:
        patch_size: of the window: one odd number, or a LocalityScale that tells it for each noise level.
        features: how many powers each window has.

    Raises:
        PatchSizeError: an even patch size, or one below 1.
    """

    def __init__(
        self,
        pool: ImageSet,
        degree: int,
        patch_size: int | LocalityScale,
        features: int = 64,
        *,
        schedule: NoiseSchedule | None = None,
        limit: float = LIMIT,
        ridge: float = RIDGE,
        seed: int = 0,
        memory_budget: int = DEFAULT_BUDGET,
    ) -> None:
        super().__init__(
            pool, degree, features, schedule=schedule, limit=limit, ridge=ridge, seed=seed, memory_budget=memory_budget
        )
        self.patch_size = patch_size if isinstance(patch_size, LocalityScale) else check_patch_size(patch_size)

    def _window_size(self, sigma: float) -> int:
        return self.patch_size(sigma) if isinstance(self.patch_size, LocalityScale) else self.patch_size

    def describe(self) -> dict[str, Any]:
        """Class, pool, schedule and settings, as JSON-able data."""
        size = self.patch_size.to_json() if isinstance(self.patch_size, LocalityScale) else self.patch_size
        return super().describe() | {"patch_size": size}
