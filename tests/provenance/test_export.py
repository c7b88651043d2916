"""Tables hold what the tensors hold: read back by csv, json and pyarrow, and looked up pixel by pixel."""

import csv
import json
import sys

import pytest
import torch

import patchmosaic as pm
from patchmosaic.errors import MissingExtraError, PatchMosaicError
from patchmosaic.provenance import trace
from patchmosaic.provenance.export import OF_A_PIXEL, pixels_table, save_table, sources_table

TOP = 3


def provenance(labels=True, names=("none", "a", "b"), images=5, top=TOP):
    generator = torch.Generator().manual_seed(0)
    pool = torch.rand((images, 1, 4, 3), generator=generator) * 2 - 1
    classes = 1 + torch.arange(images) % 3 if labels else None  # class 3 has no name
    machine = pm.LocalDenoiser(pm.ImageSet(pool, classes, class_names=names), 3)
    return trace(machine, torch.randn((2, 1, 4, 3), generator=generator), 0.5, top=top)


def read(path):
    match path.suffix:
        case ".csv":
            with path.open(newline="") as file:
                return list(csv.DictReader(file))
        case ".json":
            return json.loads(path.read_text())
        case ".parquet":
            return pytest.importorskip("pyarrow.parquet").read_table(path).to_pylist()


@pytest.mark.parametrize("suffix", [".csv", ".json", ".parquet"])
def test_a_row_for_each_source_of_each_pixel(tmp_path, suffix):
    p = provenance()
    rows = read(save_table(sources_table(p), tmp_path / f"provenance{suffix}"))
    assert len(rows) == 2 * 4 * 3 * TOP
    seen = set()
    for row in rows:
        pixel = tuple(int(row[name]) for name in ("sample", "row", "column"))
        source = (*pixel, int(row["rank"]) - 1)
        seen.add(source)
        assert int(row["image"]) == p.image[source]
        assert (int(row["source_row"]), int(row["source_column"])) == (p.row[source], p.column[source])
        assert float(row["weight"]) == float(p.weight[source])
        assert int(row["label"]) == p.pool.labels[p.image[source]]
        assert (row["class_name"] or None) == {1: "a", 2: "b", 3: None}[int(row["label"])]
        for name in OF_A_PIXEL:
            assert float(row[name]) == float(getattr(p, name)[pixel])
    assert len(seen) == len(rows)


@pytest.mark.parametrize("suffix", [".csv", ".json", ".parquet"])
def test_a_row_for_each_pixel(tmp_path, suffix):
    p = provenance()
    rows = read(save_table(pixels_table(p), tmp_path / f"pixels{suffix}"))
    assert [tuple(int(row[name]) for name in ("sample", "row", "column")) for row in rows] == [
        (sample, row, column) for sample in range(2) for row in range(4) for column in range(3)
    ]
    assert [float(row["weight"]) for row in rows] == p.weight[..., 0].flatten().tolist()
    assert [float(row["entropy"]) for row in rows] == p.entropy.flatten().tolist()
    assert "rank" not in rows[0]


@pytest.mark.parametrize("suffix", [".csv", ".json", ".parquet"])
def test_without_labels_the_columns_are_there_and_empty(tmp_path, suffix):
    rows = read(save_table(sources_table(provenance(labels=False)), tmp_path / f"p{suffix}"))
    assert {row["label"] or None for row in rows} == {row["class_name"] or None for row in rows} == {None}


def test_ranks_beyond_the_candidates_have_no_row():
    table = sources_table(provenance(images=2, top=4))
    assert set(table["rank"]) == {1, 2}
    assert len({len(values) for values in table.values()}) == 1
    assert len(table["rank"]) == 2 * 4 * 3 * 2


def test_parquet_needs_an_extra_and_says_so(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"patchmosaic\[parquet\].*\.csv"):
        save_table(pixels_table(provenance()), tmp_path / "p.parquet")
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_written_leaves_nothing(tmp_path):
    table = pixels_table(provenance())
    with pytest.raises(PatchMosaicError, match=r"got p.xlsx. Known: .csv, .json, .parquet"):
        save_table(table, tmp_path / "p.xlsx")
    kept = save_table(table, tmp_path / "p.json").read_text()
    with pytest.raises(ValueError):
        save_table(table | {"weight": [float("nan")] * len(table["weight"])}, tmp_path / "p.json")
    assert [path.name for path in tmp_path.iterdir()] == ["p.json"]
    assert (tmp_path / "p.json").read_text() == kept
