"""`patchmosaic families` as a user runs it, on digits, with the smallest useful numbers."""

import json
from pathlib import Path

import pytest
from command_line import runner
from PIL import Image

from patchmosaic.errors import PatchMosaicError
from patchmosaic.experiments.families import small_targets
from patchmosaic.experiments.families import study as families

PICTURES = ("density", "ring", "arcsine", "samples", "families")


run = runner("families")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "study"
    command = ("--run", folder, "--images", 40, "--seeds", 9, "--json")
    with pytest.MonkeyPatch.context() as patch:
        for name, count in {"LINE_SEEDS": 50, "RING_SEEDS": 50, "ARCSINE_SEEDS": 50, "LAW_SEEDS": 20}.items():
            patch.setattr(families, name, count)
        patch.setattr(small_targets, "STEPS", 10)
        yield folder, command, run(*command)


def test_it_writes_results_and_pictures(finished):
    folder, _, result = finished
    record = json.loads(result.stdout)
    assert record == json.loads((folder / "results.json").read_text())
    assert record["images"]["A"] == 40
    assert record["families"]["whole images: IS"]["copies"] == 1.0
    assert len(record["line"]) == len(record["ring"]) == 12
    for name in PICTURES:
        with Image.open(folder / f"{name}.png") as picture:
            assert min(picture.size) > 200
    assert json.loads((folder / "run.json").read_text())["data"]["name"] == "digits"
    assert json.loads((folder / "manifest.json").read_text())["seconds"] > 0


def test_it_tells_how_samples_agree_with_their_laws(finished):
    folder, _, result = finished
    record, told = json.loads((folder / "results.json").read_text()), result.stderr
    assert f"{record['arcsine']['linear code: 1 number']['ks'][0]:.3f}" in told
    assert f"{record['families']['linear: stationary']['law']['mean_error']:.3f}" in told
    assert f"{record['held_out']['realism']:.3f}" in told


def test_a_second_run_draws_nothing(finished):
    folder, command, result = finished
    kept = [path for part in ("families", "targets") for path in Path(folder, part).rglob("*")]
    before = {path: path.stat().st_mtime_ns for path in kept}
    assert json.loads(run(*command).stdout) == json.loads(result.stdout)
    assert {path: path.stat().st_mtime_ns for path in kept} == before


def test_errors_name_the_way_out(finished):
    folder, _, _ = finished
    with pytest.raises(PatchMosaicError, match="other images"):
        run("--run", folder, "--image-size", "12")
    with pytest.raises(PatchMosaicError, match="PATCHMOSAIC_DATA"):
        run("no-such-data", "--run", folder)
