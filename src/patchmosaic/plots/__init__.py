"""Displays: pictures of results, in scikit-learn's manner.

    ScatterDisplay.from_comparison(comparison).plot().save("scatter.png")

Each display is made from a result (`from_...`), drawn by `plot(ax=None)` and written by `save(path)`. matplotlib is imported
when something is drawn; pyplot, which keeps every figure alive, is never used. In a notebook a display shows itself.
"""

from patchmosaic.plots.curve import TrainingCurveDisplay
from patchmosaic.plots.densities import DensitiesDisplay, DensityResult
from patchmosaic.plots.display import Display
from patchmosaic.plots.family_map import FamilyMapDisplay
from patchmosaic.plots.grid import save_png, tile
from patchmosaic.plots.metrics import SummaryDisplay
from patchmosaic.plots.points import PointsDisplay, PointsResult
from patchmosaic.plots.scale import LocalityScaleDisplay
from patchmosaic.plots.scatter import ScatterDisplay
from patchmosaic.plots.side_by_side import SideBySideDisplay
from patchmosaic.plots.style import DARK, LIGHT, Theme
from patchmosaic.plots.variant_errors import VariantErrorsDisplay
from patchmosaic.plots.variant_map import VariantMapDisplay
from patchmosaic.plots.variants import VariantResult, VariantSamplesDisplay

__all__ = [
    "DARK",
    "LIGHT",
    "DensitiesDisplay",
    "DensityResult",
    "Display",
    "FamilyMapDisplay",
    "LocalityScaleDisplay",
    "PointsDisplay",
    "PointsResult",
    "ScatterDisplay",
    "SideBySideDisplay",
    "SummaryDisplay",
    "Theme",
    "TrainingCurveDisplay",
    "VariantErrorsDisplay",
    "VariantMapDisplay",
    "VariantResult",
    "VariantSamplesDisplay",
    "save_png",
    "tile",
]
