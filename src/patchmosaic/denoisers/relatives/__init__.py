"""Relatives of the machines in the same frame: other kernels, other windows, other ways to put patches together."""

from patchmosaic.denoisers.relatives.kernel_density import KernelDensityDenoiser
from patchmosaic.denoisers.relatives.mixture import MixtureDenoiser
from patchmosaic.denoisers.relatives.nearest import NearestDenoiser
from patchmosaic.denoisers.relatives.patch_composite import PatchCompositeDenoiser
from patchmosaic.denoisers.relatives.pca_locality import PCALocalityDenoiser
from patchmosaic.denoisers.relatives.smoothed import SmoothedDenoiser
from patchmosaic.denoisers.relatives.soft_window import SoftWindowDenoiser, gaussian_window, nested_squares

__all__ = [
    "KernelDensityDenoiser",
    "MixtureDenoiser",
    "NearestDenoiser",
    "PCALocalityDenoiser",
    "PatchCompositeDenoiser",
    "SmoothedDenoiser",
    "SoftWindowDenoiser",
    "gaussian_window",
    "nested_squares",
]
