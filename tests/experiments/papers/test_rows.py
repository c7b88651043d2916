"""Rows: ordinary run folders, shared, taken up as they are, and never mistaken for others."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from paper_cases import RECIPE, written_recipe
from typer.testing import CliRunner

from patchmosaic.calibration import calibrate
from patchmosaic.cli.main import app
from patchmosaic.errors import CheckpointError
from patchmosaic.experiments.papers.recipe import read_recipes
from patchmosaic.experiments.papers.rows import RowRun
from patchmosaic.networks import snapshots_in
from patchmosaic.runs import Run


@pytest.fixture
def row(finished: Any) -> RowRun:
    root, scale, _ = finished
    return RowRun(root, read_recipes(scale).rows["zeros"])


TRAIN = ["train", "digits", "--image-size", "8", "--limit", "60", "--width", "16", "--depth", "1", "--steps", "12"]


def test_what_the_train_verb_made_is_taken_up_as_it_is(tmp_path: Path) -> None:
    recipes = read_recipes(written_recipe(tmp_path))
    folder = tmp_path / "rows" / "zeros-tiny"
    command = [*TRAIN, "--batch-size", "8", "--no-conditional", "--run", str(folder)]
    assert CliRunner().invoke(app, command).exit_code == 0
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    told: list[str] = []
    row = RowRun(tmp_path, recipes.rows["zeros"], progress=lambda what, done, total: told.append(what))
    row.network  # noqa: B018
    assert not any("training" in what for what in told)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    # It has no snapshots: they are made by training again, which ends with the same network.
    networks = row.snapshots()
    assert list(networks) == [4, 8, 12]
    assert any("training" in what for what in told)
    assert not snapshots_in(folder / "network")
    for one, other in zip(networks[12].module.parameters(), row.network.module.parameters(), strict=True):
        assert torch.equal(one, other)


def test_the_folder_is_an_ordinary_run(row: RowRun) -> None:
    run = Run(row.folder)
    assert run.pool.content_hash == row.pool.content_hash
    assert run.network().describe() == row.network.describe()
    assert set(run.calibrations()) == {"ELS", "bbELS", "LS"}


def test_calibrations_are_those_of_the_library(row: RowRun) -> None:
    found = row.calibration("LS")
    alone = calibrate(row.network, row.pool, "LS", seeds=2, steps=3)
    assert found.scale == alone.scale
    torch.testing.assert_close(found.cosine, alone.cosine, rtol=0, atol=1e-5)  # seeds are done one by one, there two at once


def test_a_borrower_has_the_scale_of_its_lender(finished: Any) -> None:
    root, scale, _ = finished
    rows = read_recipes(scale).rows
    lender = RowRun(root, rows["zeros"])
    borrower = RowRun(root, rows["attention"], lender=lender)
    assert borrower.calibration("bbELS").scale == lender.calibration("bbELS").scale
    assert borrower.machine("bbELS").describe() == lender.machine("bbELS").describe()
    assert not (borrower.folder / "scales").exists()


def test_images_in_the_place_of_others_are_named(finished: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    root, scale, _ = finished
    monkeypatch.delenv("PATCHMOSAIC_DATA", raising=False)
    rows = {name: RowRun(root, recipe) for name, recipe in read_recipes(scale).rows.items()}
    assert rows["attention"].title == "CelebA UNet+SA (digits in place of CelebA)"
    assert rows["attention"].missing is None
    assert rows["zeros"].title == "MNIST ResNet"
    assert "no data set of this name, got 'nowhere at all'" in str(rows["absent"].missing)


def test_twins_differ_in_what_they_should(row: RowRun) -> None:
    weights = {name: dict(row.twin(name).module.named_parameters()) for name in ("half-0", "half-1")}
    other = dict(row.twin("seed-1", seed=1).module.named_parameters())
    own = dict(row.network.module.named_parameters())
    for twin in (*weights.values(), other):
        assert any(not torch.equal(twin[name], own[name]) for name in own)
    records = [json.loads((row.folder / "twins" / name / "network.json").read_text())["data"] for name in weights]
    assert [record["images"] for record in records] == [30, 30]
    assert len({record["content_hash"] for record in records}) == 2


def test_another_network_in_the_folder_is_refused(finished: Any, tmp_path: Path) -> None:
    root, _, _ = finished
    shutil.copytree(root / "rows" / "zeros-tiny", tmp_path / "rows" / "zeros-tiny")
    for old, new, told in [
        ("width = 16", "width = 24", "width 16"),
        ("steps = 12", "steps = 13", "steps 12"),
        ("limit = 60", "limit = 61", "other images"),
    ]:
        recipe = read_recipes(written_recipe(tmp_path, RECIPE.replace(old, new))).rows["zeros"]
        with pytest.raises(CheckpointError, match=told):
            RowRun(tmp_path, recipe).network  # noqa: B018
