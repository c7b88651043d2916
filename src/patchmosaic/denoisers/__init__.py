"""The denoisers, one machine a file; `MACHINES` is their names in the papers."""

from patchmosaic.denoisers.base import Denoiser
from patchmosaic.denoisers.boundary_broken import BoundaryBrokenDenoiser
from patchmosaic.denoisers.equivariant import EquivariantDenoiser
from patchmosaic.denoisers.equivariant_local import EquivariantLocalDenoiser
from patchmosaic.denoisers.ideal import IdealDenoiser
from patchmosaic.denoisers.local import LocalDenoiser
from patchmosaic.denoisers.network import NetworkDenoiser
from patchmosaic.denoisers.patch import PatchDenoiser
from patchmosaic.denoisers.posterior import PosteriorDenoiser
from patchmosaic.denoisers.wiener import WienerDenoiser

MACHINES: dict[str, type[Denoiser]] = {
    "IS": IdealDenoiser,
    "ES": EquivariantDenoiser,
    "LS": LocalDenoiser,
    "ELS": EquivariantLocalDenoiser,
    "bbELS": BoundaryBrokenDenoiser,
    "Wiener": WienerDenoiser,
}

__all__ = [
    "MACHINES",
    "BoundaryBrokenDenoiser",
    "Denoiser",
    "EquivariantDenoiser",
    "EquivariantLocalDenoiser",
    "IdealDenoiser",
    "LocalDenoiser",
    "NetworkDenoiser",
    "PatchDenoiser",
    "PosteriorDenoiser",
    "WienerDenoiser",
]
