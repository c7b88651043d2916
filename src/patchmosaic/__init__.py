"""PatchMosaic: the analytic theory of diffusion creativity, as a library.

    pool = ImageSet(images, labels)                      training images in [-1, 1]
    d = BoundaryBrokenDenoiser(pool, patch_size=7)       a closed-form denoiser: x0_hat = d(x_t, t)
    sample(d, seeds(4, pool.image_shape)).x0             what it draws

Three ideas, and each is a place: a noise schedule (`noise`), a denoiser (`denoisers`), a sampler (`sampling`).
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# Where each public name lives; imported when first asked for, so that `import patchmosaic` costs nothing.
_HOME = {
    "ImageSet": "data.imageset",
    "Approximate": "denoisers.approximate",
    "BoundaryBrokenDenoiser": "denoisers",
    "EquivariantDenoiser": "denoisers",
    "EquivariantLocalDenoiser": "denoisers",
    "IdealDenoiser": "denoisers",
    "LocalDenoiser": "denoisers",
    "NetworkDenoiser": "denoisers",
    "WienerDenoiser": "denoisers",
    "LocalityScale": "locality",
    "PatchMosaicError": "errors",
    "Preview": "denoisers.preview",
    "calibrate": "calibration",
    "compare": "comparison",
    "generated_law": "laws",
    "sample": "sampling",
    "seeds": "sampling",
    "trace": "provenance",
}
_MODULES = ("analysis", "data", "denoisers", "engine", "interop", "laws", "networks", "noise", "plots", "provenance")

__all__ = [
    "Approximate",
    "BoundaryBrokenDenoiser",
    "EquivariantDenoiser",
    "EquivariantLocalDenoiser",
    "IdealDenoiser",
    "ImageSet",
    "LocalDenoiser",
    "LocalityScale",
    "NetworkDenoiser",
    "PatchMosaicError",
    "Preview",
    "WienerDenoiser",
    "__version__",
    "analysis",
    "calibrate",
    "compare",
    "data",
    "denoisers",
    "engine",
    "generated_law",
    "interop",
    "laws",
    "networks",
    "noise",
    "plots",
    "provenance",
    "sample",
    "seeds",
    "trace",
]

if TYPE_CHECKING:
    from patchmosaic import analysis, data, denoisers, engine, interop, laws, networks, noise, plots, provenance
    from patchmosaic.calibration import calibrate
    from patchmosaic.comparison import compare
    from patchmosaic.data.imageset import ImageSet
    from patchmosaic.denoisers import (
        BoundaryBrokenDenoiser,
        EquivariantDenoiser,
        EquivariantLocalDenoiser,
        IdealDenoiser,
        LocalDenoiser,
        NetworkDenoiser,
        WienerDenoiser,
    )
    from patchmosaic.denoisers.approximate import Approximate
    from patchmosaic.denoisers.preview import Preview
    from patchmosaic.errors import PatchMosaicError
    from patchmosaic.laws import generated_law
    from patchmosaic.locality import LocalityScale
    from patchmosaic.provenance import trace
    from patchmosaic.sampling import sample, seeds


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name in _HOME:
        return getattr(import_module(f"patchmosaic.{_HOME[name]}"), name)
    if name in _MODULES:
        return import_module(f"patchmosaic.{name}")
    raise AttributeError(f"module 'patchmosaic' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
