"""The denoisers, one machine a file, the families in a folder each; `MACHINES` is the machines' names in the papers."""

from patchmosaic.denoisers.base import Denoiser
from patchmosaic.denoisers.bottleneck import CodebookDenoiser, LinearEncoderDenoiser, ManifoldDenoiser, SphereDenoiser
from patchmosaic.denoisers.boundary_broken import BoundaryBrokenDenoiser
from patchmosaic.denoisers.equivariant import EquivariantDenoiser
from patchmosaic.denoisers.equivariant_local import EquivariantLocalDenoiser
from patchmosaic.denoisers.ideal import IdealDenoiser
from patchmosaic.denoisers.linear import (
    LinearDenoiser,
    LocalLinearDenoiser,
    LocalStationaryDenoiser,
    ShrunkWienerDenoiser,
    StationaryDenoiser,
    WienerDenoiser,
)
from patchmosaic.denoisers.local import LocalDenoiser
from patchmosaic.denoisers.network import NetworkDenoiser
from patchmosaic.denoisers.patch import PatchDenoiser
from patchmosaic.denoisers.polynomial import (
    ExactPolynomialDenoiser,
    PatchPolynomialDenoiser,
    PolynomialDenoiser,
    RandomFeatureDenoiser,
    SeparablePolynomialDenoiser,
)
from patchmosaic.denoisers.posterior import PosteriorDenoiser
from patchmosaic.denoisers.relatives import (
    KernelDensityDenoiser,
    MixtureDenoiser,
    NearestDenoiser,
    PatchCompositeDenoiser,
    PCALocalityDenoiser,
    SmoothedDenoiser,
    SoftWindowDenoiser,
)

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
    "CodebookDenoiser",
    "Denoiser",
    "EquivariantDenoiser",
    "EquivariantLocalDenoiser",
    "ExactPolynomialDenoiser",
    "IdealDenoiser",
    "KernelDensityDenoiser",
    "LinearDenoiser",
    "LinearEncoderDenoiser",
    "LocalDenoiser",
    "LocalLinearDenoiser",
    "LocalStationaryDenoiser",
    "ManifoldDenoiser",
    "MixtureDenoiser",
    "NearestDenoiser",
    "NetworkDenoiser",
    "PCALocalityDenoiser",
    "PatchCompositeDenoiser",
    "PatchDenoiser",
    "PatchPolynomialDenoiser",
    "PolynomialDenoiser",
    "PosteriorDenoiser",
    "RandomFeatureDenoiser",
    "SeparablePolynomialDenoiser",
    "ShrunkWienerDenoiser",
    "SmoothedDenoiser",
    "SoftWindowDenoiser",
    "SphereDenoiser",
    "StationaryDenoiser",
    "WienerDenoiser",
]
