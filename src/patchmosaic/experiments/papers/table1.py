"""Table 1: how well closed forms predict what each network draws, seed by seed, beside the published numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from patchmosaic.comparison import BASELINE
from patchmosaic.experiments.papers.experiment import Experiment
from patchmosaic.experiments.papers.published import SOURCE, TABLE
from patchmosaic.experiments.papers.records import Key
from patchmosaic.experiments.papers.rows import RowRun
from patchmosaic.experiments.papers.tables import ResultTable, cell
from patchmosaic.plots import Display, ScatterDisplay, SideBySideDisplay
from patchmosaic.plots.intervals import Estimate, IntervalsDisplay
from patchmosaic.plots.style import COLOURS, signed

COLUMNS = ("ELS", "bbELS", "LS", "IS", "Wiener")


@dataclass
class Table1(Experiment):
    """The eleven rows, by all machines, at 20 and 150 steps of the network."""

    name = "table1"
    question = "How well do closed forms predict, from the same noise, what trained networks draw?"

    def __post_init__(self) -> None:
        self.theory: dict[str, str] = {}
        self._published: dict[str, str] = {}

    def _measure(self, row: RowRun) -> None:
        self.theory[row.name], self._published[row.name] = row.recipe.theory, row.recipe.title
        for steps in row.recipe.network_steps:
            comparison = row.compare(steps)
            self.records.add_comparison(comparison, row=row.name)
        names = row.pool.class_names
        self.pictures[f"side-by-side-{row.name}"] = SideBySideDisplay.from_comparison(comparison, class_names=names)
        self.pictures[f"scatter-{row.name}"] = ScatterDisplay.from_comparison(comparison, row.recipe.theory)

    def beats_ideal(self, row: str, steps: int, machine: str) -> float:
        """The share of seeds on which a machine has a larger r than IS."""
        r, ideal = (self.records.values(row=row, network_steps=steps, machine=m, metric="r") for m in (machine, BASELINE))
        return float((r > ideal).double().mean())

    def published(self, row: str, steps: int, machine: str) -> float | None:
        """The published median of r; None where there is none."""
        line = TABLE.get(self._published[row], {}).get(steps)
        if line is None:
            return None
        return {self.theory[row]: line.els, "LS": line.ls, "IS": line.ideal}.get(machine)

    def _lines(self) -> list[tuple[str, int]]:
        return [(row, steps) for row in self.titles for steps in self.records.distinct("network_steps", row=row)]

    def _finest(self) -> list[tuple[str, int]]:
        return [(row, steps) for row, steps in self._lines() if steps == max(self.records.distinct("network_steps", row=row))]

    def tables(self) -> list[ResultTable]:
        """r beside the published r, and what else is measured of the machine that is the theory of each network."""
        lines, more = [], []
        for row, steps in self._lines():
            machine = self.theory[row]
            of: dict[str, Key] = {"row": row, "network_steps": steps, "metric": "r"}
            drawn = self.records.distinct("machine", row=row, network_steps=steps)
            cells = [
                cell(self.records.median(**of, machine=name), self.published(row, steps, name)) if name in drawn else ""
                for name in COLUMNS
            ]
            line = TABLE.get(self._published[row], {}).get(steps)
            beats = f"{self.beats_ideal(row, steps, machine):.0%}" + ("" if line is None else f" ({line.beats_ideal:.0%})")
            lines.append([self.titles[row], str(steps), *cells, beats])
            others = [cell(self.records.median(**{**of, "metric": metric}, machine=machine)) for metric in ("r", "r2", "R2")]
            more.append([self.titles[row], str(steps), machine, *others])
        seeds = sorted({len(series.seeds) for series in self.records.series})
        caption = (
            f"Median over {' or '.join(map(str, seeds))} seeds of Pearson's r with the network's image, [bootstrap 95% "
            f"interval], in parentheses the published median ({SOURCE}; over 100 seeds). What is published as ELS is bbELS "
            "where the network pads with zeros, ELS where it is circular. Last: seeds on which that machine beats IS."
        )
        return [
            ResultTable(caption, ["network", "its steps", *COLUMNS, "beats IS"], lines),
            ResultTable(
                "The same machine by r, by r² and by R², the share of the variance that it explains.",
                ["network", "its steps", "machine", "r", "r²", "R²"],
                more,
            ),
        ]

    def headline(self) -> str:
        told = []
        for row, steps in self._finest():
            r = self.records.median(row=row, network_steps=steps, machine=self.theory[row], metric="r").value
            told.append(f"{row} {self.theory[row]} r {signed(r)} at {steps} steps")
        return ", ".join(told)

    def summary(self) -> list[dict[str, Any]]:
        """As for every experiment; with each r the share of seeds on which it beats IS, and the published median."""
        entries = self.records.summary()
        for entry in entries:
            if entry["metric"] == "r":
                where = entry["row"], entry["network_steps"], entry["machine"]
                entry |= {"beats_IS": self.beats_ideal(*where), "published": self.published(*where)}
        return entries

    def displays(self) -> dict[str, Display]:
        groups = {}
        for row, steps in self._finest():
            groups[f"{self.titles[row]}, {steps} steps"] = [
                Estimate(
                    name,
                    self.records.median(row=row, network_steps=steps, machine=name, metric="r"),
                    COLOURS[name],
                    self.published(row, steps, name),
                )
                for name in COLUMNS
                if name in self.records.distinct("machine", row=row, network_steps=steps)
            ]
        title = "How well closed forms predict each network"
        return {"table1": IntervalsDisplay(groups, title, "Pearson's r with the network's image"), **self.pictures}
