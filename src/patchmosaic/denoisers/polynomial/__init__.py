"""The polynomial denoisers: the best polynomial of some degree, of all or of a class of them."""

from patchmosaic.denoisers.polynomial.base import PolynomialDenoiser
from patchmosaic.denoisers.polynomial.exact import ExactPolynomialDenoiser
from patchmosaic.denoisers.polynomial.patch import PatchPolynomialDenoiser
from patchmosaic.denoisers.polynomial.random_features import RandomFeatureDenoiser
from patchmosaic.denoisers.polynomial.separable import SeparablePolynomialDenoiser

__all__ = [
    "ExactPolynomialDenoiser",
    "PatchPolynomialDenoiser",
    "PolynomialDenoiser",
    "RandomFeatureDenoiser",
    "SeparablePolynomialDenoiser",
]
