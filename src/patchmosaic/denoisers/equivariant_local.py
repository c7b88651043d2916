"""ELS, the equivariant local machine: each pixel sees a window that wraps round, and matches training patches anywhere.

    x0_hat(p) = sum_(n, q) w_(n, q)(p) phi_n(q),
    w(p) = softmax_(n, q)(-‖window of x_t at p - alpha_t window of phi_n at q‖² / (2 sigma_t²))

Images are tori. A window is a set of pixels: where it is larger than the image each pixel is still seen once (seeing it
twice would tell nothing new), and ELS is then ES.

References:
    Kamb & Ganguli 2024, eq. 5 (equivariant local score machine).
"""

from __future__ import annotations

from typing import Any, Literal

from patchmosaic.data.imageset import ImageSet
from patchmosaic.denoisers.patch import PatchDenoiser
from patchmosaic.engine.matching import Rule
from patchmosaic.engine.memory import DEFAULT_BUDGET
from patchmosaic.errors import PatchMosaicError, PatchSizeError
from patchmosaic.locality import LocalityScale
from patchmosaic.noise import NoiseSchedule


class EquivariantLocalDenoiser(PatchDenoiser):
    """Local and translation-equivariant, circular (ELS machine).

    Args:
        training_padding: "circular", the theory, takes training patches at every position; "valid" only those that do not
            wrap, as the paper's public code does.
        pool, patch_size, schedule, memory_budget: see PatchDenoiser.

    Raises:
        PatchSizeError: with "valid", also where no patch of this size lies inside the image.
    """

    def __init__(
        self,
        pool: ImageSet,
        patch_size: int | LocalityScale,
        *,
        training_padding: Literal["circular", "valid"] = "circular",
        schedule: NoiseSchedule | None = None,
        memory_budget: int = DEFAULT_BUDGET,
    ) -> None:
        if training_padding not in ("circular", "valid"):
            raise PatchMosaicError('training_padding must be "circular" or "valid"', got=repr(training_padding))
        self.training_padding = training_padding
        super().__init__(pool, patch_size, schedule=schedule, memory_budget=memory_budget)

    @property
    def rule(self) -> Rule:
        """Every position, or every one whose window does not wrap."""
        return "anywhere" if self.training_padding == "circular" else "anywhere inside"

    def _check_candidates(self, patch_size: int) -> None:
        smallest = min(self.image_shape[1:])
        if self.training_padding == "valid" and patch_size > smallest:
            largest = smallest - 1 + smallest % 2
            raise PatchSizeError(
                f"with training_padding='valid' patch_size must be at most {largest} here: larger patches do not fit",
                got=patch_size,
                hint=f"Try {largest}, or training_padding='circular'.",
            )

    def describe(self) -> dict[str, Any]:
        """Class, pool, schedule, patch size and training padding, as JSON-able data."""
        return {**super().describe(), "training_padding": self.training_padding}
