"""Attention: what theory without attention says of a network with it, at the locality scale of a ResNet on the same images."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from patchmosaic.errors import PatchMosaicError
from patchmosaic.experiments.papers.experiment import Experiment
from patchmosaic.experiments.papers.records import Key
from patchmosaic.experiments.papers.rows import RowRun
from patchmosaic.experiments.papers.tables import ResultTable, cell
from patchmosaic.metrics import measure
from patchmosaic.plots.attention import DifferencesDisplay
from patchmosaic.plots.style import ordered, signed

PAIRS = 4  # best and worst seeds that are shown
LENDER = "the ResNet"


@dataclass
class Attention(Experiment):
    """r of every machine, per seed, and where the theory's image differs from the network's."""

    name = "attention"
    question = "How well does theory without attention predict a network with it, and where does it differ?"

    def __post_init__(self) -> None:
        self.theory: dict[str, str] = {}

    def _measure(self, row: RowRun) -> None:
        if row.lender is None:
            raise PatchMosaicError(
                "this experiment is about rows that take another's locality scale", got=row.name, hint="Name such a --row."
            )
        self.theory[row.name] = row.recipe.theory
        for steps in row.recipe.network_steps:
            comparison, lent = row.compare(steps), row.lender.compare(steps)
            self.records.add_comparison(comparison, row=row.name)
            self.records.add_comparison(lent, row=row.lender.name)
            if lent.seeds == comparison.seeds:
                for metric, values in measure(lent.network_images, comparison.network_images).items():
                    keys: dict[str, Key] = {"row": row.name, "machine": LENDER, "network_steps": steps, "metric": metric}
                    self.records.add(comparison.seeds, values, **keys)
        for machine in ("ELS", "bbELS"):
            if machine in comparison.images:
                self.pictures[f"pairs-{machine}-{row.name}"] = DifferencesDisplay.from_comparison(comparison, machine, PAIRS)

    def tables(self) -> list[ResultTable]:
        """Medians and spread over seeds, of the network with attention and of the ResNet."""
        lines = []
        for row in self.records.distinct("row"):
            for steps in self.records.distinct("network_steps", row=row):
                for machine in ordered(self.records.distinct("machine", row=row)):
                    series = self.records.where(row=row, network_steps=steps, machine=machine, metric="r")[0]
                    quantiles = torch.quantile(series.values, torch.tensor([0.0, 0.25, 0.75, 1.0], dtype=torch.float64))
                    spread = [signed(value) for value in quantiles.tolist()]
                    median = cell(self.records.median(row=row, network_steps=steps, machine=machine, metric="r"))
                    lines.append([self.titles.get(row, row), str(steps), machine, median, *spread])
        caption = (
            "r with the image of each network: median with 95% interval, least, quartiles and largest over seeds. Machines "
            "have the locality scale of the ResNet."
        )
        head = ["network", "its steps", "predicted by", "median r", "least", "lower quarter", "upper quarter", "largest"]
        return [ResultTable(caption, head, lines)]

    def headline(self) -> str:
        told = []
        for row, machine in self.theory.items():
            steps = max(self.records.distinct("network_steps", row=row))
            r = self.records.values(row=row, network_steps=steps, machine=machine, metric="r")
            told.append(
                f"{row} {machine} r {signed(float(r.quantile(0.5)))}, seeds {signed(float(r.min()))} to "
                f"{signed(float(r.max()))}"
            )
        return "; ".join(told)
