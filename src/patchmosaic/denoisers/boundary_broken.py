"""bbELS, the boundary-broken equivariant local machine: zero padding lets a pixel know how far the border is.

A window of x_t is padded with zeros outside the image, as in a zero-padded convolutional network, and so are the training
patches. Only patches with the same border layout can match:

    interior pixel    every interior patch, at any position
    edge pixel        patches at the same distance from that edge, anywhere along it
    corner pixel      the same position only

With P >= side no pixel is interior and it is LS.

References:
    Kamb & Ganguli 2024, section 3 (boundary-broken equivariant local score machine).
"""

from __future__ import annotations

from patchmosaic.denoisers.patch import PatchDenoiser
from patchmosaic.engine.matching import Rule


class BoundaryBrokenDenoiser(PatchDenoiser):
    """Local, and equivariant but for the border (bbELS machine). Arguments: see PatchDenoiser."""

    @property
    def rule(self) -> Rule:
        """Patches with the same border layout."""
        return "same border"
