"""How far a pixel looks: the calibrated patch sizes of LS, ELS and bbELS for each network, beside the published ones."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from patchmosaic.calibration import Calibration
from patchmosaic.experiments.papers.experiment import Experiment
from patchmosaic.experiments.papers.published import SCALES, SOURCE
from patchmosaic.experiments.papers.records import Key
from patchmosaic.experiments.papers.rows import SCHEDULE, RowRun
from patchmosaic.experiments.papers.tables import ResultTable
from patchmosaic.locality import LocalityScale
from patchmosaic.plots import Display
from patchmosaic.plots.locality_scales import ScalePanel, ScalesDisplay


@dataclass
class LocalityScales(Experiment):
    """The scales of each row's own network, with their spread over held-out seeds."""

    name = "locality-scales"
    question = "At each noise level, which patch size makes a machine most like the network?"

    calibrations: dict[str, dict[str, Calibration]] = field(default_factory=dict)
    published: dict[str, LocalityScale] = field(default_factory=dict)

    def _measure(self, row: RowRun) -> None:
        found = {machine: row.calibration(machine) for machine in row.recipe.machines}
        self.calibrations[row.name] = found
        if row.recipe.title in SCALES:
            self.published[row.name] = LocalityScale.from_steps(SCHEDULE, SCALES[row.recipe.title])
        for machine, calibration in found.items():
            for level, best in zip(calibration.noise_levels, calibration.best.T, strict=True):
                keys: dict[str, Key] = {"row": row.name, "machine": machine, "noise_level": level, "metric": "patch_size"}
                self.records.add(range(len(best)), best, **keys)

    def difference(self, row: str, machine: str) -> float | None:
        """Mean |measured - published| in pixels over the noise levels; None where nothing is published."""
        if row not in self.published:
            return None
        scale = self.calibrations[row][machine].scale
        pairs = zip(scale.noise_levels, scale.patch_sizes, strict=True)
        return sum(abs(size - self.published[row](level)) for level, size in pairs) / len(scale.patch_sizes)

    def tables(self) -> list[ResultTable]:
        """A line a scale, the lowest noise first."""
        lines = []
        for row, calibrations in self.calibrations.items():
            for machine, calibration in calibrations.items():
                difference = self.difference(row, machine)
                spread = torch.tensor(calibration.spread()).diff(dim=0).mean()
                told = ["" if difference is None else f"{difference:.1f}", f"{float(spread):.1f}"]
                lines.append([self.titles[row], machine, _written(calibration.scale), *told])
            if row in self.published:
                lines.append([self.titles[row], "published", _written(self.published[row]), "", ""])
        caption = (
            f"Patch sizes, the lowest noise first; published: {SOURCE}. Then the mean distance from the published sizes, and "
            "the mean width of the middle half of the seeds, both in pixels."
        )
        return [ResultTable(caption, ["network", "machine", "patch sizes", "from published", "spread"], lines)]

    def headline(self) -> str:
        told = []
        for row, calibrations in self.calibrations.items():
            machine = "bbELS" if "bbELS" in calibrations else next(iter(calibrations))
            sizes, difference = calibrations[machine].scale.patch_sizes, self.difference(row, machine)
            beside = "" if difference is None else f", {difference:.1f} pixels from the published"
            told.append(f"{row} {machine} {sizes[0]} to {sizes[-1]}{beside}")
        return "; ".join(told)

    def displays(self) -> dict[str, Display]:
        panels = [
            ScalePanel(self.titles[row], list(calibrations.values()), self.published.get(row))
            for row, calibrations in self.calibrations.items()
        ]
        return {"locality-scales": ScalesDisplay(panels)}


def _written(scale: LocalityScale) -> str:
    return " ".join(map(str, scale.patch_sizes))
