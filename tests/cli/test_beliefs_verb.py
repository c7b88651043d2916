"""`patchmosaic beliefs` and `audit` as a user runs them on digits and on a small run."""

import json

import pytest
from command_line import run
from PIL import Image

from patchmosaic.errors import PatchMosaicError

SMALL = ("--seeds", 2, "--steps", 3, "--levels", 3, "--draws", 2, "--window", 3, "--window", 1, "--json")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "digits"
    run("train", "digits", "--limit", 60, "--width", 16, "--depth", 1, "--steps", 3, "--run", folder)
    run("calibrate", folder, "--machine", "LS", "--seeds", 1, "--steps", 3, "--largest", 3)
    return folder


def test_data_alone(tmp_path):
    command = ("beliefs", "digits", "--limit", 50, "--machine", "IS", "--machine", "ELS", "--out", tmp_path, *SMALL)
    result = run(*command)
    record = json.loads(result.stdout)
    assert record == json.loads((tmp_path / "beliefs.json").read_text())
    assert record["dynamics"]["machines"]["ELS"]["patch_sizes"] == [3, 3, 3]
    assert set(record["information"]) == {"ELS"}
    assert record["information"]["ELS"]["patch_sizes"] == [1, 3]
    assert "half of the pixels know their source" in " ".join(result.stderr.split())
    for name in ("beliefs", "information", "critical-size"):
        with Image.open(tmp_path / f"{name}.png") as picture:
            assert min(picture.size) > 200
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "seeds").rglob("seed-*")}
    assert json.loads(run(*command).stdout) == record
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


def test_a_run_with_its_scale_and_classes(trained):
    record = json.loads(run("beliefs", trained, *SMALL).stdout)
    assert list(record["dynamics"]["machines"]) == ["IS", "LS"]
    assert (trained / "beliefs" / "critical-size.png").exists()
    most = record["dynamics"]["machines"]["IS"]["mean"]["ln_candidates"]
    assert max(map(max, most)) < 3  # the classes of 60 digits have fewer than e³ images


def test_without_draws_only_trajectories_are_followed(tmp_path):
    record = json.loads(
        run("beliefs", "digits", "--limit", 40, "--machine", "LS", "--out", tmp_path, *SMALL[:4], "--draws", 0, "--json").stdout
    )
    assert record["information"] == {}
    assert not (tmp_path / "information.png").exists()


def test_what_a_run_draws_is_audited(trained):
    record = json.loads(run("audit", trained, "--seeds", 3, "--steps", 20, "--patches-of", 0, "--json").stdout)
    assert set(record["sets"]) == {"network", "LS", "IS"}
    assert record["sets"]["IS"]["memorisation"]["copy_rate"] == 1.0
    assert record["sets"]["network"]["memorisation"]["copy_rate"] == 0.0
    assert (trained / "audit" / "nearest-network.png").exists()


def test_errors_name_the_way_out(tmp_path):
    with pytest.raises(PatchMosaicError, match="average training pixels"):
        run("beliefs", "digits", "--limit", 20, "--machine", "Wiener", "--out", tmp_path)
    with pytest.raises(PatchMosaicError, match="Known: IS, ES, LS"):
        run("beliefs", "digits", "--limit", 20, "--machine", "XYZ", "--out", tmp_path)
