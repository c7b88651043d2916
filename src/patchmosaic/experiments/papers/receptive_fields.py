"""Where a network looks, by its gradient, beside the patch size that makes machines most like it: two ways to one thing.

The gradient is taken along the network's own trajectories from the held-out seeds, at the states that calibration compares.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from patchmosaic.analysis import receptive_field
from patchmosaic.calibration import Calibration
from patchmosaic.experiments.papers.experiment import Experiment
from patchmosaic.experiments.papers.rows import RowRun
from patchmosaic.experiments.papers.tables import ResultTable
from patchmosaic.experiments.papers.trajectories import held_out, noise_levels
from patchmosaic.networks import Network
from patchmosaic.plots.receptive_field import ReceptiveFieldDisplay
from patchmosaic.plots.width_and_scale import WidthAndScaleDisplay


@dataclass
class ReceptiveFields(Experiment):
    """Width and spread of the gradient of each seed at each noise level, and heat maps of the mean over seeds."""

    name = "receptive-fields"
    question = "Does a network look as far as the machines that resemble it?"

    calibrations: dict[str, dict[str, Calibration]] = field(default_factory=dict)

    def _measure(self, row: RowRun) -> None:
        def of_seed(x_T: Tensor, label: Tensor | None) -> Tensor:
            return receptive_field.receptive_fields_along(row.network, x_T, row.recipe.steps, label).heat

        heat = held_out(row, "receptive-fields", {"output": "x0"}, of_seed)  # (seeds, steps, H, W)
        levels, (_, height, width) = noise_levels(row), row.pool.image_shape
        times = tuple((i + 1) / row.recipe.steps for i in range(row.recipe.steps))

        def fields(heat: Tensor, samples: int) -> receptive_field.ReceptiveFields:
            centre = (height // 2, width // 2)
            return receptive_field.ReceptiveFields(times, tuple(levels), heat, centre, "x0", samples)

        each = [fields(one, 1) for one in heat]
        for metric, found in (("width", [one.widths() for one in each]), ("spread", [one.spreads() for one in each])):
            for level, values in zip(levels, torch.tensor(found, dtype=torch.float64).T, strict=True):
                self.records.add(range(len(heat)), values, row=row.name, machine="network", noise_level=level, metric=metric)
        self.calibrations[row.name] = {machine: row.calibration(machine) for machine in row.recipe.machines}
        mean, calibrations = fields(heat.mean(0), len(heat)), self.calibrations[row.name]
        scales = {machine: calibration.scale for machine, calibration in calibrations.items()}
        module = row.network.module
        seen = module.receptive_field if isinstance(module, Network) else None
        if seen is not None and seen > max(height, width):
            seen = None  # the line would be above everything
        self.pictures[f"heat-{row.name}"] = ReceptiveFieldDisplay(mean, scales)
        self.pictures[f"widths-{row.name}"] = WidthAndScaleDisplay(mean, list(calibrations.values()), seen)

    def _medians(self, row: str, metric: str) -> list[float]:
        """Over seeds, the lowest noise first."""
        return [float(series.values.quantile(0.5)) for series in self.records.where(row=row, metric=metric)]

    def tables(self) -> list[ResultTable]:
        """Of each network, its gradient and its locality scales, the lowest noise first."""
        lines = []
        for row, title in self.titles.items():
            for metric, told in (("width", "holds 90% of the gradient"), ("spread", "spread of the gradient")):
                lines.append([title, told, " ".join(f"{value:.3g}" for value in self._medians(row, metric))])
            for machine, calibration in self.calibrations[row].items():
                lines.append([title, f"{machine}, calibrated", " ".join(map(str, calibration.scale.patch_sizes))])
        caption = (
            "Pixels a side at each noise level, the lowest first: of the smallest square that holds 90% of the gradient, of "
            "the square that has its second moment (medians over held-out seeds), and of the calibrated patches."
        )
        return [ResultTable(caption, ["network", "what", "pixels"], lines)]

    def headline(self) -> str:
        told = []
        for row, calibrations in self.calibrations.items():
            machine = "bbELS" if "bbELS" in calibrations else next(iter(calibrations))
            spreads, sizes = self._medians(row, "spread"), calibrations[machine].scale.patch_sizes
            pairs = torch.tensor([spreads, sizes], dtype=torch.float64)
            r = float(torch.corrcoef(pairs)[0, 1].nan_to_num())
            told.append(f"{row}: spread {spreads[0]:.1f} to {spreads[-1]:.1f} pixels, r {r:.2f} with the {machine} scale")
        return "; ".join(told)
