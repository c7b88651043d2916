"""What denoisers generate: their laws, where they are known, and how samples compare with them.

The modules imported here register the families whose laws they know.
"""

from patchmosaic.laws.agreement import Agreement
from patchmosaic.laws.base import Drawing, Law, generated_law, law_of
from patchmosaic.laws.finite import FiniteLaw
from patchmosaic.laws.gaussian import GaussianLaw
from patchmosaic.laws.one_dimensional import OneDimensionalLaw

__all__ = ["Agreement", "Drawing", "FiniteLaw", "GaussianLaw", "Law", "OneDimensionalLaw", "generated_law", "law_of"]
