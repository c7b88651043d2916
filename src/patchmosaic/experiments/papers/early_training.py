"""When is a network nearest to theory: machines against the network as it was after so many training steps.

A machine needs a locality scale, and there are two honest ones. With the *final* scale, that of the finished network, the
machine is the same throughout, so that what changes is the network alone. With its *own* scale, calibrated for each snapshot,
theory is given its best chance at every moment. Where the two differ, the network's locality changed; where both rise and
fall, something else did. IS and Wiener have no scale.
"""

from __future__ import annotations

from dataclasses import dataclass

from patchmosaic.experiments.papers.experiment import Experiment
from patchmosaic.experiments.papers.records import Key
from patchmosaic.experiments.papers.rows import RowRun
from patchmosaic.experiments.papers.tables import ResultTable, cell
from patchmosaic.plots import Display
from patchmosaic.plots.style import COLOURS, ordered, signed
from patchmosaic.plots.training_steps import TrainingPanel, TrainingStepsDisplay

FINAL, OWN = "final", "own"


@dataclass
class EarlyTraining(Experiment):
    """r of every machine after each number of training steps, at the final scale and at the snapshot's own."""

    name = "early-training"
    question = "Is a network nearest to theory early in its training?"

    def __post_init__(self) -> None:
        self.theory: dict[str, str] = {}

    def _measure(self, row: RowRun) -> None:
        self.theory[row.name] = row.recipe.theory
        steps = min(row.recipe.network_steps)
        for training_step, network in row.snapshots().items():
            keys: dict[str, Key] = {"row": row.name, "training_step": training_step}
            self.records.add_comparison(row.compare(steps, network=network), None, scale=FINAL, **keys)
            own = {name: row.machine(name, row.calibration(name, network).scale) for name in row.recipe.machines}
            self.records.add_comparison(row.compare(steps, own, network), list(own), scale=OWN, **keys)

    def curve(self, row: str, machine: str, scale: str) -> dict[int, list[float]]:
        """Training step -> (median r, low, high)."""
        found = self.records.where(row=row, machine=machine, scale=scale, metric="r")
        statistics = {int(series.keys["training_step"]): series.summary() for series in found}
        return {step: [entry[name] for name in ("median", "low", "high")] for step, entry in statistics.items()}

    def tables(self) -> list[ResultTable]:
        """A line a machine and scale, a column a training step."""
        lines, steps = [], sorted({int(step) for step in self.records.distinct("training_step")})
        for row, title in self.titles.items():
            for scale in (FINAL, OWN):
                for machine in ordered(self.records.distinct("machine", row=row, scale=scale)):
                    of: dict[str, Key] = {"row": row, "machine": machine, "scale": scale, "metric": "r"}
                    there = self.records.distinct("training_step", **of)
                    cells = [cell(self.records.median(**of, training_step=n)) if n in there else "" for n in steps]
                    lines.append([title, machine, scale, *cells])
        caption = (
            "Median r with what the network draws after so many training steps, with 95% intervals. Scale: that of the "
            "finished network, or one calibrated for each snapshot."
        )
        return [ResultTable(caption, ["network", "machine", "scale", *(f"{step:,}" for step in steps)], lines)]

    def headline(self) -> str:
        told = []
        for row, machine in self.theory.items():
            curve = {step: median for step, (median, _, _) in self.curve(row, machine, OWN).items()}
            best, last = max(curve, key=lambda step: curve[step]), max(curve)
            told.append(f"{row} {machine} r {signed(curve[best])} at {best:,} steps, {signed(curve[last])} at {last:,}")
        return "; ".join(told)

    def displays(self) -> dict[str, Display]:
        panels = []
        for row, title in self.titles.items():
            curves = {
                (machine, scale): self.curve(row, machine, scale)
                for scale in (FINAL, OWN)
                for machine in ordered(self.records.distinct("machine", row=row, scale=scale))
            }
            panels.append(TrainingPanel(title, curves, {machine: COLOURS[machine] for machine, _ in curves}))
        return {"early-training": TrainingStepsDisplay(panels)}
