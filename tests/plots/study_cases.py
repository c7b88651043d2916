"""One display of each kind that shows a study, of numbers made by hand."""

import torch
from display_cases import make_calibration, make_comparison
from test_belief_displays import make_dynamics, make_information
from test_limb_displays import GROUPS, rows
from test_provenance_pictures import displays as provenance_displays
from test_provenance_pictures import pool, provenance

import patchmosaic as pm
from patchmosaic.analysis.memorisation import memorisation
from patchmosaic.analysis.novelty import Novelty, PatchNovelty
from patchmosaic.analysis.receptive_field import ReceptiveFields
from patchmosaic.metrics import Interval
from patchmosaic.plots import (
    BeliefDynamicsDisplay,
    ConsistencyDisplay,
    CriticalSizeDisplay,
    DifferencesDisplay,
    Estimate,
    InformationDisplay,
    IntervalsDisplay,
    LimbGalleryDisplay,
    LimbSharesDisplay,
    MemorisationDisplay,
    NoveltyDisplay,
    ReceptiveFieldDisplay,
    ScalePanel,
    ScalesDisplay,
    TrainingPanel,
    TrainingStepsDisplay,
    TransitionDisplay,
    TransitionPanel,
    WidthAndScaleDisplay,
)
from patchmosaic.plots.style import COLOURS
from patchmosaic.provenance.consistency import Consistency

LEVELS = (0.1, 1.0, 10.0)


def _uniform(*shape, seed=0):
    return 2 * torch.rand(shape, generator=torch.Generator().manual_seed(seed)) - 1


def _memorisation():
    images = _uniform(5, 1, 6, 6, seed=1)
    return MemorisationDisplay(memorisation(images, pm.ImageSet(_uniform(30, 1, 6, 6)), held_out=6), images)


def _novelty():
    mine, real = (PatchNovelty(_uniform(3, 5, 4, 4, seed=i).abs().double(), torch.ones(5).double()) for i in (0, 1))
    return NoveltyDisplay.from_novelty(Novelty((3, 5, 9), mine, real), "LS")


def _fields():
    heat = torch.zeros(3, 16, 15, dtype=torch.float64)
    heat[:, 6:11, 5:10] = 1.0
    return ReceptiveFields((0.2, 0.5, 0.9), LEVELS, heat, (8, 7), "x0", 4)


def _transition():
    rates = {size: {level: float(size > 5) for level in LEVELS} for size in (3, 5, 63)}
    errors = {size: {level: size * level for level in LEVELS} for size in (3, 5, 63)}
    return TransitionDisplay([TransitionPanel("LS", rates, errors, [(level, 5) for level in LEVELS])])


def _training_steps():
    curves = {("LS", "final"): {100: (0.5, 0.4, 0.6), 10: (0.2, 0.1, 0.3)}}
    return TrainingStepsDisplay([TrainingPanel("network", curves, COLOURS)])


def _consistency():
    shares = torch.tensor([[0.2, 0.4], [0.7, 0.9]], dtype=torch.float64)
    return ConsistencyDisplay([Consistency("LS", (0, 1), (5, 10), (0.3, 0.2), 0.01, shares)])


STUDIES = {
    "beliefs": lambda: BeliefDynamicsDisplay(make_dynamics()),
    "information": lambda: InformationDisplay([make_information()]),
    "critical size": lambda: CriticalSizeDisplay([make_information()]),
    "memorisation": _memorisation,
    "novelty": _novelty,
    "limbs' shares": lambda: LimbSharesDisplay("Hands", GROUPS),
    "limbs' gallery": lambda: LimbGalleryDisplay("Hands", rows()),
    "mosaic": lambda: provenance_displays(provenance(pool()))[0],
    "pixel's sources": lambda: provenance_displays(provenance(pool()))[1],
    "belief maps": lambda: provenance_displays(provenance(pool()))[2],
    "consistency": _consistency,
    "receptive field": lambda: ReceptiveFieldDisplay(_fields(), {}),
    "width and scale": lambda: WidthAndScaleDisplay(_fields(), [make_calibration()], 9),
    "intervals": lambda: IntervalsDisplay({"one": [Estimate("LS", Interval(0.5, 0.4, 0.7), COLOURS["LS"], 0.6)]}, "title", "r"),
    "scales": lambda: ScalesDisplay([ScalePanel("first", [make_calibration("LS")])]),
    "training steps": _training_steps,
    "transition": _transition,
    "differences": lambda: DifferencesDisplay.from_comparison(make_comparison(), "LS"),
}
