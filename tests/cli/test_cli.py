"""The verbs as a user runs them: a chain over one run folder, on digits, with the smallest useful numbers."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import run
from PIL import Image
from safetensors.torch import load_file

import patchmosaic as pm
from patchmosaic.cli.main import main
from patchmosaic.data import load
from patchmosaic.locality import LocalityScale

VERBS = (
    *("demo", "train", "adopt", "calibrate", "sample", "compare"),
    *("explore", "trace", "beliefs", "audit"),
    *("reproduce", "results", "families", "architectures", "limbs"),
    "doctor",
)
TRAIN = ["digits", "--limit", "120", "--width", "16", "--depth", "1", "--steps", "30", "--batch-size", "16"]


def run_main(monkeypatch, *arguments):
    """As the console script does it, with its handling of errors; returns the exit status."""
    monkeypatch.setattr(sys, "argv", ["patchmosaic", *(str(argument) for argument in arguments)])
    with pytest.raises(SystemExit) as stopped:
        main()
    return stopped.value.code


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "digits"
    outputs = {
        "train": run("train", *TRAIN, "--run", folder, "--no-conditional", "--json"),
        "calibrate": run("calibrate", folder, "--machine", "LS", "--machine", "bbELS", "--seeds", 2, "--steps", 4, "--json"),
        "compare": run("compare", folder, "--seeds", 5, "--steps", 4, "--network-steps", 4, "--network-steps", 6, "--json"),
    }
    return folder, {verb: json.loads(result.stdout) for verb, result in outputs.items()}


def test_train_writes_a_network_that_is_what_was_asked_for(chain):
    folder, outputs = chain
    record = json.loads((folder / "network" / "network.json").read_text())
    assert record["config"]["width"] == 16
    assert record["data"]["content_hash"] == load("digits", None, limit=120).content_hash
    assert len((folder / "network" / "metrics.jsonl").read_text().splitlines()) == 30 == outputs["train"]["steps"]
    weights = load_file(folder / "network" / "weights.safetensors")
    assert sum(tensor.numel() for tensor in weights.values()) == outputs["train"]["parameters"]


def test_calibrate_writes_scales_that_load(chain):
    folder, outputs = chain
    assert set(outputs["calibrate"]) == {"LS", "bbELS"}
    for name, record in outputs["calibrate"].items():
        scale = LocalityScale.from_json(record)
        assert scale.to_json() == json.loads((folder / "scales" / f"{name}.json").read_text())["scale"]
        assert set(scale.patch_sizes) <= {3, 5, 7}  # the receptive field of one block is 7


@pytest.mark.parametrize("steps", ["4", "6"])
def test_compare_writes_what_the_seeds_say(chain, steps):
    folder, outputs = chain
    assert set(outputs["compare"]) == {"4", "6"}
    record = json.loads((folder / "results.json").read_text())[steps]
    assert set(record["per_seed"]) == {"IS", "Wiener", "LS", "bbELS"}
    assert json.loads((folder / "manifest.json").read_text())["versions"]["torch"] == torch.__version__
    for name, metrics in record["per_seed"].items():
        assert len(metrics["r"]) == 5
        assert outputs["compare"][steps][name]["r"]["value"] == pytest.approx(np.median(metrics["r"]))
    # The metrics, from the images that the seeds left behind.
    images = {}
    for name in ("network", "bbELS"):
        stores = [
            store
            for store in (folder / "samples").glob(f"{name}-*")
            if json.loads((store / "description.json").read_text())["steps"] == (int(steps) if name == "network" else 4)
        ]
        (store,) = stores
        images[name] = [load_file(path)["result"].double().numpy() for path in sorted(store.glob("seed-*"))]
    r = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(images["network"], images["bbELS"], strict=True)]
    np.testing.assert_allclose(record["per_seed"]["bbELS"]["r"], r, atol=1e-6)


def test_compare_writes_pictures_and_a_report(chain):
    folder, _ = chain
    for name in ("side-by-side-4.png", "scatter-bbELS-4.png", "locality-scales.png"):
        with Image.open(folder / name) as picture:
            assert min(picture.size) > 200
    page = (folder / "report.html").read_text()
    assert "bbELS" in page
    assert not re.search(r"(src|href)=[\"']?https?:", page)


def test_a_second_run_does_nothing_again(chain):
    folder, outputs = chain
    before = {path: path.stat().st_mtime_ns for path in (folder / "samples").rglob("seed-*")}
    again = run("compare", folder, "--seeds", 5, "--steps", 4, "--network-steps", 4, "--network-steps", 6, "--json")
    assert json.loads(again.stdout) == outputs["compare"]
    assert {path: path.stat().st_mtime_ns for path in (folder / "samples").rglob("seed-*")} == before


@pytest.mark.parametrize("denoiser", ["network", "LS"])
def test_sample_from_a_run(chain, denoiser):
    folder, _ = chain
    report = json.loads(run("sample", folder, "--denoiser", denoiser, "--seeds", 3, "--steps", 2, "--json").stdout)
    images = load_file(Path(report["folder"]) / "samples.safetensors")["images"]
    assert images.shape == (3, 1, 8, 8)
    assert (Path(report["folder"]) / "samples.png").exists()


def test_sample_from_data_alone(tmp_path):
    run("sample", "digits", "--denoiser", "IS", "--limit", 40, "--seeds", 2, "--steps", 30, "--class", "3", "--out", tmp_path)
    tensors = load_file(tmp_path / "samples.safetensors")
    assert tensors["labels"].tolist() == [3, 3]
    threes = load("digits", None, classes=[3], limit=40).images
    distance = (tensors["images"][:, None] - threes).abs().amax((2, 3, 4)).amin(1)
    assert float(distance.max()) < 0.05  # the ideal denoiser draws training images


def test_sample_from_a_part_of_the_pool(tmp_path):
    data = ("digits", "--limit", 300, "--class", "3", "--denoiser", "IS", "--seeds", 2, "--steps", 30)
    run("sample", *data, "--preview", 8, "--out", tmp_path)
    images = load_file(tmp_path / "samples.safetensors")["images"]
    asked = pm.Preview(pm.IdealDenoiser(load("digits", None, classes=[3], limit=300)), 8).chosen(3)
    threes = load("digits", None, classes=[3], limit=300).images[asked]
    distance = (images[:, None] - threes).abs().amax((2, 3, 4)).amin(1)
    assert float(distance.max()) < 0.05  # the ideal denoiser draws the images it was asked about


def test_sample_within_a_tolerance(tmp_path, monkeypatch):
    asked, denoise = [], pm.Approximate._denoise

    def spied(self, *arguments):
        asked.append(self.tolerance)
        return denoise(self, *arguments)

    monkeypatch.setattr(pm.Approximate, "_denoise", spied)
    data = ("digits", "--limit", 300, "--denoiser", "IS", "--seeds", 2, "--steps", 1)
    run("sample", *data, "--out", tmp_path / "exact")
    assert not asked
    run("sample", *data, "--tolerance", 0.01, "--out", tmp_path / "within")
    assert set(asked) == {0.01}
    exact, within = (load_file(tmp_path / name / "samples.safetensors")["images"] for name in ("exact", "within"))
    assert float((within - exact).norm() / exact.norm()) < 0.01


def test_errors_name_the_way_out(chain, monkeypatch, capsys, tmp_path):
    folder, _ = chain
    cases = [
        (("calibrate", tmp_path / "nowhere"), "patchmosaic train"),
        (("compare", folder, "--machine", "ELS"), "patchmosaic calibrate"),
        (("compare", folder, "--machine", "XYZ"), "Known: IS, ES, LS"),
        (("calibrate", folder, "--machine", "IS"), "LS, ELS or bbELS"),
        (("sample", "digits", "--denoiser", "ELS"), "--patch-size"),
        (("sample", "digits", "--denoiser", "ELS", "--patch-size", "4"), "Try 3 or 5"),
        (("sample", "digits", "--denoiser", "network"), "only a run has a network"),
        (("sample", "digits", "--denoiser", "IS", "--preview", "1"), "Try images=500"),
        (("sample", "digits", "--denoiser", "IS", "--tolerance", "2"), "from 1e-5 up to 1"),
        (("sample", "digits", "--denoiser", "IS", "--preview", "9", "--tolerance", "0.1"), "Choose one of them"),
        (("sample", "digits", "--denoiser", "IS", "--preview", "50", "--shards", "2"), "Leave out --shards"),
        (("sample", folder, "--denoiser", "network", "--preview", "50"), "machines that average images"),
        (("sample", "no-such-data", "--denoiser", "IS"), "PATCHMOSAIC_DATA"),
        (("train", "digits", "--limit", "50", "--run", folder), "other images"),
        (("train", *TRAIN, "--no-conditional", "--learning-rate", "0.5", "--run", folder), "learning_rate"),
    ]
    for arguments, expected in cases:
        assert run_main(monkeypatch, *arguments) == 2
        message = capsys.readouterr().err
        assert expected in " ".join(message.split()), arguments
        assert "Traceback" not in message


def test_doctor_finds_the_machine_right():
    result = run("doctor", "--json")
    assert result.exit_code == 0
    report = json.loads(result.stdout)
    assert report["ok"] is True
    assert 0 < report["oracle_error"]["cpu"] < 1e-5


def test_doctor_notices_a_wrong_machine(monkeypatch):
    from patchmosaic.denoisers import BoundaryBrokenDenoiser

    right = BoundaryBrokenDenoiser.__call__
    monkeypatch.setattr(BoundaryBrokenDenoiser, "__call__", lambda self, *arguments: right(self, *arguments) + 1e-3)
    assert run("doctor").exit_code == 1


def test_doctor_says_what_data_there_is(monkeypatch, tmp_path):
    monkeypatch.setenv("PATCHMOSAIC_DATA", str(tmp_path))
    (tmp_path / "mine").mkdir()
    np.savez(tmp_path / "mine" / "mine.npz", images=np.zeros((2, 4, 4, 1), np.uint8))
    assert json.loads(run("doctor", "--json").stdout)["data"]["folder"] == str(tmp_path)


@pytest.mark.parametrize("verb", VERBS)
def test_help_teaches(verb):
    text = run(verb, "--help").output
    assert len(text.split()) > 40


def test_help_is_quick_because_torch_is_not_imported():
    code = (
        "import sys; sys.argv = ['patchmosaic', '--help']\n"
        "from patchmosaic.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(sorted({'torch', 'numpy', 'matplotlib', 'scipy'} & set(sys.modules)), file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stderr.strip() == "[]"
    assert all(verb in result.stdout for verb in VERBS)


def test_a_killed_command_takes_up_where_it_was(tmp_path):
    """Training is killed at some step; the same command then ends with the weights of an uninterrupted one."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    script = "from patchmosaic.cli.main import main; main()"
    arguments = ["train", *TRAIN[:-4], "--steps", "400", "--batch-size", "16", "--no-conditional"]

    def train(folder):
        return [sys.executable, "-c", script, *arguments, "--run", str(folder)]

    process = subprocess.Popen(train(tmp_path / "killed"), env=environment, stderr=subprocess.DEVNULL)
    metrics = tmp_path / "killed" / "network" / "metrics.jsonl"
    while process.poll() is None and not (metrics.exists() and metrics.stat().st_size > 0):
        time.sleep(0.02)
    process.kill()
    process.wait()
    for name in ("killed", "whole"):
        subprocess.run(train(tmp_path / name), env=environment, check=True, capture_output=True)
    killed, whole = (load_file(tmp_path / name / "network" / "weights.safetensors") for name in ("killed", "whole"))
    assert all(torch.equal(killed[name], whole[name]) for name in whole)


def test_the_demo_end_to_end(tmp_path):
    """The main job, with a network too small and too short trained to be good: what is tested is that all of it is there."""
    result = run(
        "demo",
        "--out",
        tmp_path / "demo",
        "--seeds",
        3,
        "--training-steps",
        5,
        "--calibration-seeds",
        1,
        "--limit",
        60,
        "--json",
    )
    summary = json.loads(result.stdout)["summary"]
    assert set(summary) == {"IS", "Wiener", "bbELS", "LS", "ELS"}
    names = {path.name for path in (tmp_path / "demo").iterdir()}
    assert {"report.html", "results.json", "manifest.json", "side-by-side-20.png", "scatter-ELS-20.png"} <= names


def test_in_a_log_file_progress_is_lines(chain, tmp_path):
    folder, _ = chain
    result = run("calibrate", folder, "--machine", "LS", "--seeds", 3, "--steps", 3)
    assert re.search(r"calibrating LS: 9 of 9, \d+ s elapsed, about 0 s left", result.stderr)
