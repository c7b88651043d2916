"""`patchmosaic architectures` as a user runs it, on digits, with the smallest useful numbers."""

import json

import pytest
from command_line import runner
from PIL import Image

from patchmosaic.errors import PatchMosaicError

SMALL = ["digits", "--images", "40", "--width", "4", "--steps", "3", "--seeds", "9"]


run = runner("architectures")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "study"
    command = (*SMALL, "--run", folder, "--variant", "padding: circular", "--variant", "IS, copies", "--json")
    return folder, command, run(*command)


def test_it_writes_results_and_pictures(finished):
    folder, _, result = finished
    table = json.loads(result.stdout)
    assert (
        set(table)
        == {"base UNet", "padding: circular", "IS, copies"}
        == set(json.loads((folder / "results.json").read_text())["summary"])
    )
    assert table["IS, copies"]["copies"] == 1.0
    assert table["base UNet"]["parameters"] == table["padding: circular"]["parameters"] > 0
    for name in ("architectures", "samples", "errors"):
        with Image.open(folder / f"{name}.png") as picture:
            assert min(picture.size) > 200
    assert json.loads((folder / "run.json").read_text())["data"]["name"] == "digits"


def test_a_second_run_trains_nothing(finished):
    folder, command, result = finished
    before = {path: path.stat().st_mtime_ns for path in (folder / "variants").rglob("*")}
    assert json.loads(run(*command).stdout) == json.loads(result.stdout)
    assert {path: path.stat().st_mtime_ns for path in (folder / "variants").rglob("*")} == before


def test_without_data_it_takes_the_digits(monkeypatch, tmp_path):
    monkeypatch.delenv("PATCHMOSAIC_DATA", raising=False)
    run(*SMALL[1:], "--run", tmp_path, "--variant", "Wiener, linear")
    assert json.loads((tmp_path / "run.json").read_text())["data"]["name"] == "digits"


def test_errors_name_the_way_out(finished, tmp_path):
    folder, _, _ = finished
    with pytest.raises(PatchMosaicError, match="Known: 'base UNet'"):
        run(*SMALL, "--run", folder, "--variant", "padding: mirror")
    with pytest.raises(PatchMosaicError, match="multiples of 4, got 6x6"):
        run(*SMALL, "--run", tmp_path, "--image-size", "6")
    with pytest.raises(PatchMosaicError, match="other images"):
        run(*SMALL, "--run", folder, "--image-size", "12")
