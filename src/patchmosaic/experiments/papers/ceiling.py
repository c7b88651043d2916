"""The ceiling: how well a network predicts another that differs in nothing that theory knows.

Two networks from different first weights, orders and noises; and two on disjoint halves of the images (every other one). What
these do not agree in no theory of architecture and data can predict.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from patchmosaic.denoisers import NetworkDenoiser
from patchmosaic.experiments.papers.experiment import Experiment
from patchmosaic.experiments.papers.records import Key
from patchmosaic.experiments.papers.rows import RowRun
from patchmosaic.experiments.papers.tables import ResultTable, cell
from patchmosaic.metrics import measure
from patchmosaic.plots import Display
from patchmosaic.plots.intervals import Estimate, IntervalsDisplay
from patchmosaic.plots.style import COLOURS, LIGHT, SPARE_COLOURS, ordered, signed

OTHER_WEIGHTS, OTHER_IMAGES = "other first weights", "disjoint halves"


@dataclass
class Ceiling(Experiment):
    """r between networks, beside r of the machines."""

    name = "ceiling"
    question = "How well does a network predict another one, trained alike: the most that a theory could reach?"

    def _measure(self, row: RowRun) -> None:
        halves = [row.pool.subset(torch.arange(start, len(row.pool), 2)) for start in (0, 1)]
        pairs: dict[str, tuple[NetworkDenoiser, NetworkDenoiser]] = {
            OTHER_WEIGHTS: (row.network, row.twin("seed-1", seed=1)),
            OTHER_IMAGES: (row.twin("half-0", pool=halves[0]), row.twin("half-1", pool=halves[1])),
        }
        for steps in row.recipe.network_steps:
            comparison = row.compare(steps)
            self.records.add_comparison(comparison, row=row.name)
            for name, (one, other) in pairs.items():
                images = [row.compare(steps, network=network).network_images for network in (one, other)]
                for metric, values in measure(images[0], images[1]).items():
                    keys: dict[str, Key] = {"row": row.name, "machine": name, "network_steps": steps, "metric": metric}
                    self.records.add(comparison.seeds, values, **keys)

    def tables(self) -> list[ResultTable]:
        """The ceilings first."""
        lines = []
        for row, title in self.titles.items():
            for steps in self.records.distinct("network_steps", row=row):
                for machine in self._ordered(row):
                    of: dict[str, Key] = {"row": row, "network_steps": steps, "machine": machine}
                    cells = [cell(self.records.median(**of, metric=metric)) for metric in ("r", "r2", "R2")]
                    lines.append([title, str(steps), machine, *cells])
        caption = (
            "Medians with 95% intervals: a network against one from other first weights, two networks on disjoint halves of "
            "the images against each other, and machines against the network."
        )
        return [ResultTable(caption, ["network", "its steps", "predicted by", "r", "r²", "R²"], lines)]

    def _ordered(self, row: str) -> list[str]:
        machines = ordered(self.records.distinct("machine", row=row))
        return [OTHER_WEIGHTS, OTHER_IMAGES, *(machine for machine in machines if machine not in (OTHER_WEIGHTS, OTHER_IMAGES))]

    def headline(self) -> str:
        told = []
        for row in self.titles:
            steps = max(self.records.distinct("network_steps", row=row))
            r = [self.records.median(row=row, network_steps=steps, machine=m, metric="r").value for m in self._ordered(row)[:2]]
            told.append(f"{row}: {OTHER_WEIGHTS} r {signed(r[0])}, {OTHER_IMAGES} {signed(r[1])}")
        return "; ".join(told)

    def displays(self) -> dict[str, Display]:
        colours = {**COLOURS, OTHER_WEIGHTS: LIGHT.ink, OTHER_IMAGES: SPARE_COLOURS[1]}
        groups = {
            f"{title}, {steps} steps": [
                Estimate(m, self.records.median(row=row, network_steps=steps, machine=m, metric="r"), colours[m])
                for m in self._ordered(row)
            ]
            for row, title in self.titles.items()
            for steps in self.records.distinct("network_steps", row=row)
        }
        title = "Networks trained alike predict each other; machines beside them"
        return {"ceiling": IntervalsDisplay(groups, title, "Pearson's r with the network's image")}
