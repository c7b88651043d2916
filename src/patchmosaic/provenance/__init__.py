"""Where a drawn pixel comes from: its belief over training patches, at any noise level."""

from patchmosaic.provenance.trace import Provenance, trace

__all__ = ["Provenance", "trace"]
