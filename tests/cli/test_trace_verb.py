"""`patchmosaic trace` as a user runs it, on digits, against what the library says."""

import csv
import json

import pytest
import torch
from command_line import runner
from PIL import Image

import patchmosaic as pm
from patchmosaic.errors import PatchMosaicError
from patchmosaic.networks import ResNet, save_network
from patchmosaic.provenance import trace
from patchmosaic.provenance.explanation import answer, question
from patchmosaic.provenance.mosaic import Mosaic
from patchmosaic.runs import DataSource, Run

SMALL = ("digits", "--limit", 80, "--patch-size", 3, "--steps", 6, "--seed", 4)


run = runner("trace")


def by_the_library(step=6, label=None, kind=pm.BoundaryBrokenDenoiser, patch_size=3, top=8):
    pool = pm.data.load("digits", image_size=None, limit=80)
    label = int(pm.sampling.seed_labels([4], pool.classes)[0]) if label is None else label
    machine = kind(pool, patch_size)
    trajectory = pm.sample(machine, pm.seeds([4], pool.image_shape), 6, label)
    return trace(machine, trajectory.states[step - 1], float(trajectory.times[step - 1]), label, top=top)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trace") / "out"
    return folder, run(*SMALL, "--out", folder, "--pixel", "5,2", "--json")


def test_it_tells_why_a_pixel_is_as_it_is(finished):
    _, result = finished
    told, p = json.loads(result.stdout), by_the_library()
    assert told["question"] == question(p, (5, 2))
    assert told["answer"] == answer(p, (5, 2))
    assert told["pixel"] == [5, 2]
    assert told["mosaic"] == Mosaic.from_provenance(p).summary()
    for sentence in (told["question"], *told["answer"], told["drawing"]):
        assert " ".join(sentence.split()) in " ".join(result.stderr.split())


def test_it_writes_pictures_and_tables(finished):
    folder, result = finished
    told = json.loads(result.stdout)
    assert {*told["files"], "trace.json"} == {path.name for path in folder.iterdir()}
    for name in ("mosaic", "pixel", "beliefs"):
        with Image.open(folder / f"{name}.png") as picture:
            assert min(picture.size) > 200
    p = by_the_library()
    with (folder / "provenance.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 64 * 8
    assert [int(row["image"]) for row in rows] == p.image.flatten().tolist()
    weights = torch.tensor([float(row["weight"]) for row in rows], dtype=torch.float64)
    torch.testing.assert_close(weights, p.weight.flatten(), rtol=1e-5, atol=1e-7)
    record = json.loads((folder / "trace.json").read_text())
    assert record["manifest"]["pool"] == p.pool.content_hash
    assert record["machine"]["patch_size"] == 3


def test_an_earlier_step_another_class_and_another_table(tmp_path):
    told = json.loads(
        run(*SMALL, "--step", 3, "--class", "7", "--top", 2, "--table", "parquet", "--out", tmp_path, "--json").stdout
    )
    p = by_the_library(step=3, label=7, top=2)
    assert told["answer"] == answer(p, told["pixel"])
    assert told["noise_level"] == pytest.approx(float(pm.noise.CosineSchedule().noise_level(4 / 6)))
    assert "step 3 of 6" in told["drawing"]
    rows = pytest.importorskip("pyarrow.parquet").read_table(tmp_path / "provenance.parquet").to_pylist()
    assert {row["label"] for row in rows} == {7}
    assert max(row["rank"] for row in rows) == 2


def test_it_checks_consistency(monkeypatch, tmp_path):
    monkeypatch.setattr("patchmosaic.cli.trace.STEPS", (2, 5))
    told = json.loads(
        run("digits", "--limit", 20, "--patch-size", 3, "--steps", 2, "--consistency", 1, "--out", tmp_path, "--json").stdout
    )
    study = told["consistency"]
    assert study["steps"] == [2, 5]
    assert len(study["shares"][0]) == 1
    assert all(0 <= share[0] <= 1 for share in study["shares"])
    assert (tmp_path / "consistency.png").exists()


def test_of_a_run_it_takes_the_calibrated_scale(tmp_path):
    source = DataSource("digits", limit=60)
    created = Run.create(tmp_path, source, source.load())
    save_network(created.network_folder, ResNet(1, width=16, depth=1), pm.noise.CosineSchedule(), created.pool)
    with pytest.raises(PatchMosaicError, match=r"patchmosaic calibrate .* --machine LS"):
        run(tmp_path, "--denoiser", "LS")
    levels, sizes = (1.0, 20.0), (5, 7)
    scale = pm.LocalityScale(levels, sizes)
    cosine = torch.zeros(1, 2, 2, dtype=torch.float64)
    pm.calibration.Calibration("LS", scale, levels, sizes, cosine).save(created.scale_path("LS"))
    told = json.loads(run(tmp_path, "--denoiser", "LS", "--steps", 3, "--seed", 1, "--json").stdout)
    assert told["folder"] == str(tmp_path / "trace" / "LS-seed-1")
    assert told["patch_size"] == 5
    assert json.loads(run(tmp_path, "--denoiser", "LS", "--steps", 3, "--patch-size", 3, "--json").stdout)["patch_size"] == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--pixel", "12"), "ROW,COLUMN"),
        (("--pixel", "8,0"), "8 x 8"),
        (("--step", "7"), "from 1 to 6"),
        (("--class", "cat"), "no class of this name"),
        (("--class", "12"), "no images of this class"),
        (("--denoiser", "Wiener"), "averages no training patches"),
        (("--denoiser", "ABC"), "no such machine"),
    ],
)
def test_errors_name_the_way_out(tmp_path, arguments, message):
    with pytest.raises(PatchMosaicError, match=message):
        run(*SMALL, "--out", tmp_path, *arguments)
