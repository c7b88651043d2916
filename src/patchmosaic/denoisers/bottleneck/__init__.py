"""Denoisers with a bottleneck: few numbers, few codes, or a fixed manifold between what they see and what they say."""

from patchmosaic.denoisers.bottleneck.codebook import CodebookDenoiser
from patchmosaic.denoisers.bottleneck.linear_encoder import LinearEncoderDenoiser
from patchmosaic.denoisers.bottleneck.manifold import Flat, Manifold, ManifoldDenoiser, Sphere, SphereDenoiser

__all__ = [
    "CodebookDenoiser",
    "Flat",
    "LinearEncoderDenoiser",
    "Manifold",
    "ManifoldDenoiser",
    "Sphere",
    "SphereDenoiser",
]
