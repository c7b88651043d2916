"""Where machines copy: error and copy rate of one denoising step against patch size and noise level.

The states x_t are those of the network's own trajectories from held-out seeds, as in calibration; no training image is in
them. At each a machine of every patch size is asked for x0_hat. Measured of it are the squared error against the network's
x0_hat, per pixel, and the distance to the nearest training image over that to the second nearest: below a third it is a copy
(analysis of memorisation). A window too large for the noise level fits one training image only, and copies it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from patchmosaic.analysis.memorisation import COPY_THRESHOLD, nearest_ratios
from patchmosaic.denoisers import PatchDenoiser
from patchmosaic.experiments.papers.experiment import Experiment
from patchmosaic.experiments.papers.records import Key
from patchmosaic.experiments.papers.rows import RowRun
from patchmosaic.experiments.papers.tables import ResultTable
from patchmosaic.experiments.papers.trajectories import along_trajectories, noise_levels
from patchmosaic.plots import Display
from patchmosaic.plots.style import signed
from patchmosaic.plots.transition import TransitionDisplay, TransitionPanel

COMPARED = (3, 5, 7, 9, 13, 17, 21, 25, 31)
METRICS = ("error", "nearest_ratio")


@dataclass
class MemorisingTransition(Experiment):
    """Error and nearest ratio of the theory's machine and of LS, by patch size and noise level."""

    name = "memorising-transition"
    question = "At which patch size and noise level do machines begin to copy training images?"

    scales: dict[tuple[str, str], list[tuple[float, int]]] = field(default_factory=dict)

    def _measure(self, row: RowRun) -> None:
        side = max(row.pool.image_shape[1:])
        sizes = [size for size in COMPARED if size < side] + [2 * side - 1]  # the last sees the whole image from every pixel
        seeds = range(row.recipe.calibration_seeds)
        levels = noise_levels(row)
        for name in dict.fromkeys((row.recipe.theory, "LS")):
            machine = row.machine(name, sizes[0])
            assert isinstance(machine, PatchDenoiser)

            def measured(
                x_t: Tensor, t: float, label: Tensor | None, x0_hat: Tensor, machine: PatchDenoiser = machine
            ) -> Tensor:
                answers = machine.at_patch_sizes(x_t, t, sizes, label)[:, 0]  # (K, C, H, W)
                errors = (answers.double() - x0_hat.double()).square().mean((1, 2, 3))
                return torch.stack([errors.cpu(), nearest_ratios(answers.cpu(), row.pool)])

            description = {"measured": METRICS, "machine": machine.describe(), "patch_sizes": sizes}
            found = along_trajectories(row, f"transition-{name}", description, measured)  # (seeds, steps, 2, K)
            calibrated = row.calibration(name).scale
            self.scales[row.name, name] = [(level, calibrated(level)) for level in levels]
            for metric, values in zip(METRICS, found.unbind(2), strict=True):
                for i, level in enumerate(levels):
                    for k, size in enumerate(sizes):
                        keys: dict[str, Key] = {
                            "row": row.name,
                            "machine": name,
                            "noise_level": level,
                            "patch_size": size,
                            "metric": metric,
                        }
                        self.records.add(seeds, values[:, i, k], **keys)

    def copy_rate(self, row: str, machine: str) -> dict[int, dict[float, float]]:
        """Patch size -> noise level -> the share of x0_hats that are copies."""
        rates: dict[int, dict[float, float]] = {}
        for series in self.records.where(row=row, machine=machine, metric="nearest_ratio"):
            copies = float((series.values < COPY_THRESHOLD).double().mean())
            rates.setdefault(int(series.keys["patch_size"]), {})[float(series.keys["noise_level"])] = copies
        return rates

    def error(self, row: str, machine: str) -> dict[int, dict[float, float]]:
        """Patch size -> noise level -> median over seeds of the squared error against the network."""
        errors: dict[int, dict[float, float]] = {}
        for series in self.records.where(row=row, machine=machine, metric="error"):
            level = float(series.keys["noise_level"])
            errors.setdefault(int(series.keys["patch_size"]), {})[level] = float(series.values.quantile(0.5))
        return errors

    def onset(self, row: str, machine: str) -> dict[float, int | None]:
        """Noise level -> the smallest patch size at which half of the answers are copies; None where there is none."""
        rates = self.copy_rate(row, machine)
        levels = next(iter(rates.values()))
        return {level: next((size for size in sorted(rates) if rates[size][level] >= 0.5), None) for level in levels}

    def tables(self) -> list[ResultTable]:
        """For each noise level: the patch size that the network has, and that from which the machine copies."""
        lines = []
        for (row, machine), scale in self.scales.items():
            onset, rates, errors = self.onset(row, machine), self.copy_rate(row, machine), self.error(row, machine)
            for level, size in scale:
                largest = max(rates)
                nearest = min(rates, key=lambda one: abs(one - size))
                told = [signed(errors[nearest][level], 4), signed(errors[largest][level], 4), f"{rates[largest][level]:.0%}"]
                lines.append([self.titles[row], machine, f"{level:.3g}", str(size), str(onset[level] or "none"), *told])
        caption = (
            "One denoising step along the network's trajectories. For each noise level: the calibrated patch size, the "
            "smallest at which half of the answers are copies of training images, the squared error against the network at "
            "about the calibrated size and where every pixel sees all, and the share of copies there."
        )
        head = ["network", "machine", "σ/α", "calibrated P", "copies from P", "error", "error, all seen", "copies, all seen"]
        return [ResultTable(caption, head, lines)]

    def headline(self) -> str:
        told = []
        for (row, machine), scale in self.scales.items():
            level, size = scale[len(scale) // 4]
            onset = self.onset(row, machine)[level]
            told.append(f"{row} {machine} at σ/α {level:.2g}: copies from P = {onset or 'none'}, calibrated {size}")
        return "; ".join(told)

    def displays(self) -> dict[str, Display]:
        panels = [
            TransitionPanel(f"{self.titles[row]}, {machine}", self.copy_rate(row, machine), self.error(row, machine), scale)
            for (row, machine), scale in self.scales.items()
        ]
        return {"memorising-transition": TransitionDisplay(panels)}
