"""What all experiments share: rows are measured one after another, and after each everything known so far is written.

    ROOT/EXPERIMENT-SCALE/   manifest.json   the command, versions, rows, device and time
                             results.json    headline, statistics, raw values; results.parquet has the raw values too
                             table.md        the tables, ready for a document
                             *.png           the pictures

Statistics are functions of the raw values (records.py) alone.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

from patchmosaic.experiments.papers.records import Records
from patchmosaic.experiments.papers.rows import RowRun
from patchmosaic.experiments.papers.tables import ResultTable
from patchmosaic.files import write_json, write_text
from patchmosaic.plots import Display
from patchmosaic.runs import manifest


@dataclass
class Experiment(ABC):
    """An experiment, and what it has measured so far.

    Attributes:
        name: by which the command line calls it.
        question: what it answers, in a sentence.
        records: the raw values.
        titles: name -> title of the rows measured.
        missing: title -> why, of the rows that could not be.
        pictures: of the rows measured, by file name without suffix.
    """

    name: ClassVar[str]
    question: ClassVar[str]

    records: Records = field(default_factory=Records)
    titles: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    pictures: dict[str, Display] = field(default_factory=dict)
    _saved: set[str] = field(default_factory=set)

    def measure(self, row: RowRun) -> None:
        """Take in a row: trains, calibrates and draws what is not there yet."""
        if row.missing is not None:
            self.missing[row.title] = row.missing
            return
        self.titles[row.name] = row.title
        self._measure(row)

    @abstractmethod
    def _measure(self, row: RowRun) -> None:
        """Add the row's values to `records`, and its pictures to `pictures`."""

    @abstractmethod
    def tables(self) -> list[ResultTable]:
        """What was found, from `records` alone."""

    @abstractmethod
    def headline(self) -> str:
        """The one number or sentence to remember; rows have been measured."""

    def displays(self) -> dict[str, Display]:
        """The pictures, by file name without suffix; those of all rows together first."""
        return self.pictures

    def summary(self) -> list[dict[str, Any]]:
        """The statistics of every series of values."""
        return self.records.summary()

    def to_json(self) -> dict[str, Any]:
        """Headline, statistics and raw values, JSON-able."""
        return {
            "experiment": self.name,
            "headline": self.headline() if self.titles else "no row could be measured",
            "rows": self.titles,
            "missing": self.missing,
            "summary": self.summary(),
            "records": self.records.to_json(),
        }

    def markdown(self) -> str:
        """The tables as a piece of a document."""
        parts = [f"**{self.question}**\n", *(table.markdown() for table in (self.tables() if self.titles else []))]
        parts += [f"{title}: not measured. {why}\n" for title, why in self.missing.items()]
        return "\n".join(parts)

    def write(self, folder: Path, facts: dict[str, Any]) -> None:
        """Write the folder of the module's docstring."""
        record = self.to_json()
        write_json(folder / "results.json", record)
        self.records.write_parquet(folder / "results.parquet")
        write_text(folder / "table.md", self.markdown())
        for name, display in self.displays().items() if self.titles else ():
            if name not in self._saved:
                display.save(folder / f"{name}.png")
        self._saved |= set(self.pictures)  # a row's own do not change with the next row
        finished = datetime.now(UTC).isoformat(timespec="seconds")
        kept = {"experiment": self.name, "headline": record["headline"], "finished": finished}
        write_json(folder / "manifest.json", manifest(**kept, **facts))


def reproduce(experiment: Experiment, rows: Sequence[RowRun], folder: Path) -> Iterator[Experiment]:
    """Measure one row after another; what is known is written after each, and the experiment is yielded.

    Args:
        folder: of this experiment's results; what rows make is in folders of their own.
    """
    started = time.monotonic()
    for row in rows:
        experiment.measure(row)
        facts = {
            "scale": row.recipe.scale,
            "rows": [one.name for one in rows],
            "seeds": row.recipe.seeds,
            "device": str(row.device),
            "seconds": round(time.monotonic() - started, 1),
        }
        experiment.write(folder, facts)
        yield experiment
