"""Pools of training images: `load` reads one by name or path, `found` tells which names there are."""

from patchmosaic.data.imageset import ImageSet
from patchmosaic.data.loading import load
from patchmosaic.data.sources import found

__all__ = ["ImageSet", "found", "load"]
