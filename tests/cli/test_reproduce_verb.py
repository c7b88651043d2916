"""`patchmosaic reproduce` and `patchmosaic results` as a user runs them, on digits, with the smallest useful numbers."""

import json
from pathlib import Path

import pytest
from command_line import run
from typer.testing import Result

from patchmosaic.errors import PatchMosaicError
from patchmosaic.experiments.papers.catalogue import EXPERIMENTS

RECIPE = """
image_size = 8
limit = 40
seeds = 2
calibration_seeds = 1
steps = 2
network_steps = [2]
machines = ["bbELS", "LS"]
training = {steps = 3, batch_size = 8}
networks = {resnet = {width = 16, depth = 1}}
rows.one = {title = "MNIST ResNet", data = "digits", network = "resnet"}
rows.other = {title = "CelebA ResNet", data = "nowhere at all", network = "resnet"}
"""


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Result]:
    folder = tmp_path_factory.mktemp("papers")
    recipe = folder / "smallest.toml"
    recipe.write_text(RECIPE)
    result = run("reproduce", "locality-scales", "--run", folder / "runs", "--scale", recipe, "--json")
    return folder / "runs", recipe, result


def test_it_writes_results_and_says_what_is_missing(done: tuple[Path, Path, Result]) -> None:
    root, _, result = done
    said = json.loads(result.stdout)
    assert said["rows"] == {"one": "MNIST ResNet"}
    assert "no data set of this name" in said["missing"]["CelebA ResNet"]
    assert "records" not in said
    written = json.loads((root / "locality-scales-smallest" / "results.json").read_text())
    assert {name: written[name] for name in said} == said
    assert (root / "rows" / "one-smallest" / "run.json").exists()


def test_rows_and_seeds_may_be_chosen_and_a_reader_gets_a_table(done: tuple[Path, Path, Result]) -> None:
    root, recipe, _ = done
    result = run("reproduce", "steps-150", "--run", root, "--scale", recipe, "--row", "one", "--seeds", 3)
    assert result.stdout == ""
    assert "MNIST ResNet" in result.stderr
    assert "patchmosaic results" in result.stderr
    record = json.loads((root / "steps-150-smallest" / "results.json").read_text())
    assert {entry["seeds"] for entry in record["summary"]} == {3}
    assert record["missing"] == {}


def test_results_lists_them(done: tuple[Path, Path, Result]) -> None:
    root, _, _ = done
    listed = json.loads(run("results", root, "--json").stdout)
    assert listed["results"][0]["what"] == "locality-scales"
    assert listed["side_by_side"] == []
    twice = json.loads(run("results", root, root, "--metric", "patch_size", "--json").stdout)
    assert twice["side_by_side"][0]["head"][0] == "locality-scales"
    assert "locality-scales" in run("results", root).stderr
    assert "No results in" in run("results", root / "rows").stderr


def test_the_help_names_every_experiment() -> None:
    said = " ".join(run("reproduce", "--help").stdout.replace("│", " ").split())
    for name in EXPERIMENTS:
        assert name in said


def test_errors_name_the_way_out(done: tuple[Path, Path, Result]) -> None:
    root, recipe, _ = done
    for arguments, message in (
        (("table2", "--scale", recipe), "Known: table1"),
        (("table1", "--scale", "gpu"), "quick, cpu, full"),
        (("table1", "--scale", recipe, "--row", "two"), "Known: one, other"),
    ):
        with pytest.raises(PatchMosaicError, match=message):
            run("reproduce", *arguments, "--run", root)
