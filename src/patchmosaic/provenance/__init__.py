"""Where a drawn pixel comes from: its belief over training patches, at any noise level."""

from patchmosaic.provenance.mosaic import Mosaic
from patchmosaic.provenance.tracing import Provenance, trace

__all__ = ["Mosaic", "Provenance", "trace"]
