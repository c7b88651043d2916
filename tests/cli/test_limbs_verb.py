"""`patchmosaic limbs` as a user runs it, with the smallest useful numbers."""

import json

import pytest
from command_line import runner
from PIL import Image

from patchmosaic.errors import PatchMosaicError

SMALL = ["--images", "20", "--seeds", "4", "--steps", "4", "--training-steps", "2", "--machine", "bbELS"]


run = runner("limbs")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    command = ("stick figures", *SMALL, "--patch-size", "23", "--patch-size", "3", "--run", folder, "--json")
    return folder, command, run(*command)


def test_it_writes_results_and_pictures(finished):
    folder, _, result = finished
    record = json.loads(result.stdout)
    assert record == json.loads((folder / "stick-figures" / "results.json").read_text())
    assert list(record["machines"]["bbELS"]["patch sizes"]) == ["3", "23"]
    assert record["real"]["expected"] == 4
    for name in ("limbs", "gallery-bbELS"):
        with Image.open(folder / "stick-figures" / f"{name}.png") as picture:
            assert min(picture.size) > 200
    assert "seconds" in json.loads((folder / "stick-figures" / "manifest.json").read_text())


def test_a_second_run_draws_nothing(finished):
    folder, command, result = finished
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("seed-*")}
    assert json.loads(run(*command).stdout) == json.loads(result.stdout)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("seed-*")} == before


def test_errors_name_the_way_out(tmp_path):
    assert run("feet", "--run", tmp_path).exit_code == 2
    with pytest.raises(PatchMosaicError, match="LS, ELS or bbELS"):
        run("trousers", *SMALL[:-1], "IS", "--run", tmp_path)
