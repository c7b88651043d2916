"""The linear denoisers: the best one of all, of rank r, and those that a convolution or a window restricts."""

from patchmosaic.denoisers.linear.base import LinearDenoiser, LinearFilter
from patchmosaic.denoisers.linear.local import LocalStationaryDenoiser
from patchmosaic.denoisers.linear.shrunk import ShrunkWienerDenoiser
from patchmosaic.denoisers.linear.stationary import StationaryDenoiser
from patchmosaic.denoisers.linear.wiener import WienerDenoiser
from patchmosaic.denoisers.linear.windowed import LocalLinearDenoiser

__all__ = [
    "LinearDenoiser",
    "LinearFilter",
    "LocalLinearDenoiser",
    "LocalStationaryDenoiser",
    "ShrunkWienerDenoiser",
    "StationaryDenoiser",
    "WienerDenoiser",
]
