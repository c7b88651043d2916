"""Does it matter how finely the network's flow is solved: the same network at 20 and at 150 steps, against machines at 20."""

from __future__ import annotations

from dataclasses import dataclass

from patchmosaic.experiments.papers.experiment import Experiment
from patchmosaic.experiments.papers.rows import RowRun
from patchmosaic.experiments.papers.tables import ResultTable, cell
from patchmosaic.metrics import measure, median_interval
from patchmosaic.plots import Display
from patchmosaic.plots.intervals import Estimate, IntervalsDisplay
from patchmosaic.plots.style import COLOURS, ordered, signed

ITSELF = "network, fewest steps"


@dataclass
class Steps150(Experiment):
    """r of every machine at each number of network steps, and of the network with itself at the fewest."""

    name = "steps-150"
    question = "Do machines predict a network better when its own trajectory is solved more finely?"

    def _measure(self, row: RowRun) -> None:
        few, many = min(row.recipe.network_steps), max(row.recipe.network_steps)
        comparisons = {steps: row.compare(steps) for steps in (few, many)}
        for comparison in comparisons.values():
            self.records.add_comparison(comparison, row=row.name)
        coarse, fine = comparisons[few], comparisons[many]
        for metric, values in measure(coarse.network_images, fine.network_images).items():
            self.records.add(fine.seeds, values, row=row.name, machine=ITSELF, network_steps=many, metric=metric)

    def change(self, row: str, machine: str) -> tuple[int, int]:
        """The fewest and the most network steps of a row."""
        steps = self.records.distinct("network_steps", row=row, machine=machine)
        return min(steps), max(steps)

    def tables(self) -> list[ResultTable]:
        """r at both, and the median of the difference seed by seed."""
        lines = []
        for row, title in self.titles.items():
            for machine in ordered(self.records.distinct("machine", row=row)):
                few, many = self.change(row, machine)
                r = {n: self.records.values(row=row, machine=machine, metric="r", network_steps=n) for n in {few, many}}
                difference = cell(median_interval(r[many] - r[few])) if machine != ITSELF else ""
                before = cell(median_interval(r[few])) if machine != ITSELF else ""
                lines.append([title, machine, before, cell(median_interval(r[many])), difference])
        caption = (
            "Median r with the network's image at its fewest and its most steps, and median of the difference seed by seed, "
            "with 95% intervals. Machines take the same steps throughout. Last of each network: its own images at both."
        )
        return [ResultTable(caption, ["network", "machine", "r, few steps", "r, many steps", "many - few"], lines)]

    def headline(self) -> str:
        each = [(row, self.records.median(row=row, machine=ITSELF, metric="r").value) for row in self.titles]
        return ", ".join(f"{row}: the network's own images at few and many steps r {signed(r)}" for row, r in each)

    def displays(self) -> dict[str, Display]:
        groups: dict[str, list[Estimate]] = {}
        for row, title in self.titles.items():
            for machine in ordered(self.records.distinct("machine", row=row)):
                if machine == ITSELF:
                    continue
                few, many = self.change(row, machine)
                r = {n: self.records.values(row=row, machine=machine, metric="r", network_steps=n) for n in {few, many}}
                groups.setdefault(title, []).append(Estimate(machine, median_interval(r[many] - r[few]), COLOURS[machine]))
        title = "What finer steps of the network change"
        return {"steps-150": IntervalsDisplay(groups, title, "r at its most steps less r at its fewest", zero=True)}
