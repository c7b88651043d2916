"""Raw values, one for each seed, and what is said of them: whoever has these can compute every statistic again.

    row          machine  network_steps  ...  seed  metric  value
    mnist-unet   bbELS    150                 7     r       0.93

The form is long: one value a line. In memory values that differ in their seed only are kept together, as a `Series`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxtyping import Float64
from torch import Tensor

from patchmosaic.comparison import Comparison
from patchmosaic.errors import PatchMosaicError
from patchmosaic.files import replacing
from patchmosaic.metrics import Interval, median_interval

Key = str | int | float
FIRST, LAST = ("row", "machine", "network_steps"), ("seed", "metric", "value")


@dataclass(frozen=True, eq=False)
class Series:
    """The values of one metric over seeds.

    Attributes:
        keys: what they are of, such as row, machine and network_steps; with `metric`.
        seeds: their numbers.
        values: (S,) one for each.
    """

    keys: dict[str, Key]
    seeds: tuple[int, ...]
    values: Float64[Tensor, " S"]

    def summary(self) -> dict[str, Any]:
        """Keys, number of seeds, median and bootstrap 95% interval, mean; JSON-able."""
        interval = median_interval(self.values)
        statistics = {"median": interval.value, "low": interval.low, "high": interval.high, "mean": float(self.values.mean())}
        return {**self.keys, "seeds": len(self.seeds), **statistics}


class Records:
    """Series, by their keys."""

    def __init__(self, series: Sequence[Series] = ()) -> None:
        self.series = list(series)

    def __len__(self) -> int:
        return sum(len(series.seeds) for series in self.series)

    def add(self, seeds: Sequence[int], values: Tensor, **keys: Key) -> None:
        """Take in the values of one metric, `metric=`, one for each seed."""
        self.series.append(Series(keys, tuple(seeds), values.double().cpu()))

    def add_comparison(self, comparison: Comparison, machines: Sequence[str] | None = None, **keys: Key) -> None:
        """Every metric of machines against a network; by default of all."""
        for machine in machines or comparison.per_seed:
            for metric, values in comparison.per_seed[machine].items():
                found = {**keys, "machine": machine, "network_steps": comparison.network_steps, "metric": metric}
                self.add(comparison.seeds, values, **found)

    def where(self, **keys: Key) -> list[Series]:
        """The series that have these keys."""
        return [series for series in self.series if all(series.keys.get(name) == key for name, key in keys.items())]

    def values(self, **keys: Key) -> Float64[Tensor, " S"]:
        """The values of the one series that has these keys.

        Raises:
            PatchMosaicError: there is none, or more than one.
        """
        found = self.where(**keys)
        if len(found) != 1:
            raise PatchMosaicError(f"one series of {keys} was asked for", got=len(found))
        return found[0].values

    def median(self, **keys: Key) -> Interval:
        """Median and bootstrap 95% interval of the one series that has these keys."""
        return median_interval(self.values(**keys))

    def distinct(self, name: str, **keys: Key) -> list[Any]:
        """The different values of a key in the series that have `keys`, in the order in which they came."""
        return list(dict.fromkeys(series.keys[name] for series in self.where(**keys) if name in series.keys))

    def summary(self) -> list[dict[str, Any]]:
        """The statistics of every series."""
        return [series.summary() for series in self.series]

    @property
    def columns(self) -> list[str]:
        """The columns of the long form: those that all experiments have, around those that this one has of its own."""
        known = {name for series in self.series for name in series.keys} - set(FIRST) - set(LAST)
        return [*FIRST, *sorted(known), *LAST]

    def rows(self) -> Iterator[list[Key | None]]:
        """The long form, line by line; None where a series lacks a key."""
        columns = self.columns[:-1]
        for series in self.series:
            for seed, value in zip(series.seeds, series.values.tolist(), strict=True):
                yield [*({**series.keys, "seed": seed}.get(name) for name in columns), value]

    def to_json(self) -> dict[str, list[Key | None]]:
        """The long form, a list for each column."""
        lines = list(self.rows())
        return {name: [line[i] for line in lines] for i, name in enumerate(self.columns)}

    def write_parquet(self, path: Path) -> bool:
        """Write the long form where pyarrow is installed; returns whether it is."""
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError:
            return False
        with replacing(path) as temporary:
            pyarrow.parquet.write_table(pyarrow.table(self.to_json()), temporary)
        return True
