"""LS, the local machine: each pixel sees a window, cut at the border, and matches the same place in training images.

    x0_hat(p) = sum_n w_n(p) phi_n(p),    w(p) = softmax_n(-sum_{q in window(p)} |x_t - alpha_t phi_n|²(q) / (2 sigma_t²))

With a window that covers the image it is IS.

References:
    Kamb & Ganguli 2024, section 3 (local score machine).
"""

from __future__ import annotations

from patchmosaic.denoisers.patch import PatchDenoiser
from patchmosaic.engine.matching import Rule


class LocalDenoiser(PatchDenoiser):
    """Local but not equivariant (LS machine). Arguments: see PatchDenoiser."""

    @property
    def rule(self) -> Rule:
        """The same position in other images."""
        return "same position"
