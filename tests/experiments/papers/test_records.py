"""Raw values in long form, and their statistics, against numpy and scipy."""

import json
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import torch

from patchmosaic.errors import PatchMosaicError
from patchmosaic.experiments.papers.records import Records
from patchmosaic.experiments.papers.tables import ResultTable, cell
from patchmosaic.metrics import Interval


@pytest.fixture
def records() -> Records:
    rng = np.random.default_rng(0)
    found = Records()
    for row in ("a", "b"):
        for machine in ("LS", "IS"):
            found.add([3, 1, 7], torch.from_numpy(rng.uniform(size=3)), row=row, machine=machine, metric="r")
    found.add([3], torch.tensor([2.0]), row="a", machine="LS", metric="patch_size", noise_level=0.5)
    return found


def test_the_long_form_holds_every_value_once(records: Records) -> None:
    table = records.to_json()
    assert list(table) == ["row", "machine", "network_steps", "noise_level", "seed", "metric", "value"]
    assert {len(column) for column in table.values()} == {13} == {len(records)}
    lines = {line[:2] + line[4:6]: line[6] for line in zip(*table.values(), strict=True)}
    assert len(lines) == 13
    assert lines["b", "IS", 7, "r"] == records.values(row="b", machine="IS")[2]
    assert table["noise_level"][-1] == 0.5
    assert table["noise_level"][0] is table["network_steps"][0] is None
    json.dumps(table, allow_nan=False)


def test_statistics_are_those_of_the_values(records: Records) -> None:
    for series, entry in zip(records.series, records.summary(), strict=True):
        values = series.values.numpy()
        assert entry["median"] == np.median(values)
        assert entry["mean"] == pytest.approx(values.mean())
        assert entry["seeds"] == len(values)
        if len(values) > 1:
            generator = np.random.default_rng(0)
            found = scipy.stats.bootstrap((values,), np.median, n_resamples=2000, method="percentile", rng=generator)
            assert (entry["low"], entry["high"]) == (found.confidence_interval.low, found.confidence_interval.high)


def test_one_series_must_be_meant(records: Records) -> None:
    assert records.distinct("machine", row="a") == ["LS", "IS"]
    for keys in ({"row": "a"}, {"row": "c"}):
        with pytest.raises(PatchMosaicError, match="one series of"):
            records.values(**keys)


def test_parquet_holds_the_long_form(records: Records, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    assert records.write_parquet(tmp_path / "results.parquet")
    assert parquet.read_table(tmp_path / "results.parquet").to_pydict() == records.to_json()


def test_tables_are_markdown() -> None:
    table = ResultTable("How to read it.", ["row", "r"], [["a", cell(Interval(0.5, -0.1, 0.75), 0.9)]])
    assert table.markdown() == "How to read it.\n\n| row | r |\n| --- | ---: |\n| a | 0.50 [−0.10, 0.75] (0.90) |\n"
