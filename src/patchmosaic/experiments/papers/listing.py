"""What results there are under some folders, and two or more of a kind side by side.

A folder holds results where it has a manifest.json and a results.json: an experiment of the papers, a comparison, a study.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from patchmosaic.comparison import BASELINE
from patchmosaic.errors import CheckpointError, PatchMosaicError
from patchmosaic.experiments.papers.tables import ResultTable, cell
from patchmosaic.files import read_json
from patchmosaic.metrics import Interval
from patchmosaic.plots.style import signed

# Folders of runs that hold no results but many files.
_PASSED_OVER = {"network", "samples", "scales", "twins", "variants"}
_STATISTICS = {"median", "low", "high", "mean", "seeds", "beats_IS", "published", "metric"}


@dataclass(frozen=True)
class Found:
    """The results in a folder.

    Attributes:
        folder: where they are.
        what: the experiment's name, or the verb that made them.
        scale: of the recipes; empty where there are none.
        finished: day and time, ISO 8601.
        seconds: that the call took which finished them; None where it is not told.
        headline: the number to remember; empty where there is none.
        numbers: metric -> (what it is of -> median with interval).
    """

    folder: Path
    what: str
    scale: str
    finished: str
    seconds: float | None
    headline: str
    numbers: dict[str, dict[str, Interval]]

    def to_json(self) -> dict[str, Any]:
        """Everything but the numbers, which are in the folder."""
        return {name: str(value) if name == "folder" else value for name, value in vars(self).items() if name != "numbers"}


def find_results(roots: Iterable[Path]) -> list[Found]:
    """All results in and below some folders, in the order of their paths.

    Raises:
        PatchMosaicError: there is no such folder.
        CheckpointError: a file of results is damaged.
    """
    found = []
    for root in roots:
        if not root.is_dir():
            raise PatchMosaicError("no such folder", got=root, hint="`patchmosaic reproduce` and `compare` write results.")
        found += [_read(folder) for folder in _folders(root)]
    return found


def side_by_side(results: Sequence[Found], metric: str = "r") -> list[ResultTable]:
    """For each kind of results of which there are two or more: the medians that at least two of them have."""
    tables = []
    for what in dict.fromkeys(result.what for result in results):
        same = [result for result in results if result.what == what and metric in result.numbers]
        labels = dict.fromkeys(label for result in same for label in result.numbers[metric])
        lines = []
        for label in labels:
            intervals = [result.numbers[metric].get(label) for result in same]
            if sum(interval is not None for interval in intervals) > 1:
                lines.append([label, *("" if interval is None else cell(interval) for interval in intervals)])
        if lines:
            caption = f"{what}: median {metric} with 95% interval."
            tables.append(ResultTable(caption, [what, *(str(result.folder) for result in same)], lines))
    return tables


def _folders(root: Path) -> Iterator[Path]:
    for place, below, names in os.walk(root):
        below[:] = sorted(name for name in below if name not in _PASSED_OVER and not name.startswith("."))
        if {"manifest.json", "results.json"} <= set(names):
            yield Path(place)


def _read(folder: Path) -> Found:
    manifest, results = read_json(folder / "manifest.json"), read_json(folder / "results.json")
    try:
        words = manifest["command"].split()
        changed = datetime.fromtimestamp((folder / "results.json").stat().st_mtime, UTC).isoformat(timespec="seconds")
        numbers, headline = (
            (_of_experiment(results), manifest["headline"]) if "experiment" in manifest else _of_comparison(results)
        )
        return Found(
            folder,
            manifest.get("experiment", words[1] if len(words) > 1 else "unknown"),
            manifest.get("scale", ""),
            manifest.get("finished", changed),
            manifest.get("seconds"),
            headline,
            numbers,
        )
    except (AttributeError, KeyError, TypeError) as error:
        raise CheckpointError("not the results of an experiment or comparison", got=folder) from error


def _of_experiment(results: dict[str, Any]) -> dict[str, dict[str, Interval]]:
    numbers: dict[str, dict[str, Interval]] = {}
    for entry in results["summary"]:
        label = ", ".join(_told(name, value) for name, value in entry.items() if name not in _STATISTICS)
        numbers.setdefault(entry["metric"], {})[label] = Interval(entry["median"], entry["low"], entry["high"])
    return numbers


def _of_comparison(results: dict[str, Any]) -> tuple[dict[str, dict[str, Interval]], str]:
    """The numbers and headline of `patchmosaic compare`; nothing of results of other forms."""
    numbers: dict[str, dict[str, Interval]] = {}
    steps = [key for key, value in results.items() if key.isdecimal() and "summary" in value]
    for key in steps:
        for machine, metrics in results[key]["summary"].items():
            for metric, interval in metrics.items():
                if isinstance(interval, dict):
                    numbers.setdefault(metric, {})[f"{machine}, {key} network steps"] = Interval(**interval)
    if not steps:
        return numbers, ""
    most = results[max(steps, key=int)]
    r = {machine: metrics["r"]["value"] for machine, metrics in most["summary"].items() if machine not in (BASELINE, "Wiener")}
    best = max(r, key=lambda machine: r[machine], default=None)
    return numbers, "" if best is None else f"{best} r {signed(r[best])} at {most['network_steps']} network steps"


def _told(name: str, value: Any) -> str:
    if name in ("row", "machine"):
        return str(value)
    number = f"{value:.3g}" if isinstance(value, float) else str(value)
    return f"{number} {name.replace('_', ' ')}" if name.endswith("steps") else f"{name.replace('_', ' ')} {number}"
