"""Displays: pictures of results, in scikit-learn's manner.

    ScatterDisplay.from_comparison(comparison).plot().save("scatter.png")

Each display is made from a result (`from_...`), drawn by `plot(ax=None)` and written by `save(path)`. matplotlib is imported
when something is drawn; pyplot, which keeps every figure alive, is never used. In a notebook a display shows itself.
"""

from patchmosaic.plots.attention import DifferencesDisplay
from patchmosaic.plots.belief_maps import BeliefMapsDisplay
from patchmosaic.plots.beliefs import BeliefDynamicsDisplay
from patchmosaic.plots.consistency import ConsistencyDisplay
from patchmosaic.plots.critical_size import CriticalSizeDisplay
from patchmosaic.plots.curve import TrainingCurveDisplay
from patchmosaic.plots.densities import DensitiesDisplay, DensityResult
from patchmosaic.plots.display import Display
from patchmosaic.plots.family_map import FamilyMapDisplay
from patchmosaic.plots.grid import save_png, tile
from patchmosaic.plots.information import InformationDisplay
from patchmosaic.plots.intervals import Estimate, IntervalsDisplay
from patchmosaic.plots.limbs import GalleryRow, LimbGalleryDisplay, LimbSharesDisplay
from patchmosaic.plots.locality_scales import ScalePanel, ScalesDisplay
from patchmosaic.plots.memorisation import MemorisationDisplay
from patchmosaic.plots.metrics import SummaryDisplay
from patchmosaic.plots.mosaic import MosaicDisplay
from patchmosaic.plots.novelty import NoveltyDisplay
from patchmosaic.plots.pixel_sources import PixelSourcesDisplay
from patchmosaic.plots.points import PointsDisplay, PointsResult
from patchmosaic.plots.receptive_field import ReceptiveFieldDisplay
from patchmosaic.plots.scale import LocalityScaleDisplay
from patchmosaic.plots.scatter import ScatterDisplay
from patchmosaic.plots.side_by_side import SideBySideDisplay
from patchmosaic.plots.style import DARK, LIGHT, Theme
from patchmosaic.plots.training_steps import TrainingPanel, TrainingStepsDisplay
from patchmosaic.plots.transition import TransitionDisplay, TransitionPanel
from patchmosaic.plots.variant_errors import VariantErrorsDisplay
from patchmosaic.plots.variant_map import VariantMapDisplay
from patchmosaic.plots.variants import VariantResult, VariantSamplesDisplay
from patchmosaic.plots.width_and_scale import WidthAndScaleDisplay

__all__ = [
    "DARK",
    "LIGHT",
    "BeliefDynamicsDisplay",
    "BeliefMapsDisplay",
    "ConsistencyDisplay",
    "CriticalSizeDisplay",
    "DensitiesDisplay",
    "DensityResult",
    "DifferencesDisplay",
    "Display",
    "Estimate",
    "FamilyMapDisplay",
    "GalleryRow",
    "InformationDisplay",
    "IntervalsDisplay",
    "LimbGalleryDisplay",
    "LimbSharesDisplay",
    "LocalityScaleDisplay",
    "MemorisationDisplay",
    "MosaicDisplay",
    "NoveltyDisplay",
    "PixelSourcesDisplay",
    "PointsDisplay",
    "PointsResult",
    "ReceptiveFieldDisplay",
    "ScalePanel",
    "ScalesDisplay",
    "ScatterDisplay",
    "SideBySideDisplay",
    "SummaryDisplay",
    "Theme",
    "TrainingCurveDisplay",
    "TrainingPanel",
    "TrainingStepsDisplay",
    "TransitionDisplay",
    "TransitionPanel",
    "VariantErrorsDisplay",
    "VariantMapDisplay",
    "VariantResult",
    "VariantSamplesDisplay",
    "WidthAndScaleDisplay",
    "save_png",
    "tile",
]
