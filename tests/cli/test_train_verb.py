"""`patchmosaic train` as a user runs it: architectures, recipes, averages and snapshots, on digits."""

import json
import re
import sys

import command_line
import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from patchmosaic.cli import console
from patchmosaic.cli.main import main
from patchmosaic.networks import RECIPES, load_network, snapshots_in
from patchmosaic.progress import Work

SMALL = ["digits", "--limit", "40", "--steps", "6", "--batch-size", "4", "--width", "16", "--depth", "1"]


def run(*arguments):
    result = command_line.run("train", *arguments)
    assert result.exit_code == 0
    return result


@pytest.mark.parametrize("architecture", ["resnet", "unet", "attention-unet", "mlp"])
def test_each_architecture_is_trained_and_can_be_loaded(architecture, tmp_path):
    report = json.loads(run(*SMALL, "--architecture", architecture, "--run", tmp_path, "--json").stdout)
    network, record = load_network(tmp_path / "network")
    assert report["architecture"] == architecture
    assert sum(parameter.numel() for parameter in network.parameters()) == report["parameters"]
    assert record.architecture == {"resnet": "ResNet", "mlp": "MLP"}.get(architecture, "UNet")
    assert bool(record.config.get("attention")) == (architecture == "attention-unet")
    label = torch.tensor([1])
    assert network(torch.zeros(1, 1, 8, 8), torch.tensor([0.5]), label).shape == (1, 1, 8, 8)


def test_an_average_and_snapshots_are_kept(tmp_path):
    arguments = (*SMALL, "--ema", 20, "--snapshot", 2, "--snapshot", 6, "--run", tmp_path, "--json")
    report = json.loads(run(*arguments).stdout)
    assert (report["averaged"], report["snapshots"]) == (True, [2, 6])
    folders = snapshots_in(tmp_path / "network")
    assert list(folders) == [2, 6]
    averaged, raw = (load_file(tmp_path / "network" / name / "weights.safetensors") for name in (".", "raw"))
    assert not torch.equal(averaged["last.weight"], raw["last.weight"])
    for name, weights in ((".", averaged), ("raw", raw)):  # the last snapshot is the network itself
        assert torch.equal(load_file(folders[6] / name / "weights.safetensors")["last.weight"], weights["last.weight"])
    written = {path: path.stat().st_mtime_ns for folder in folders.values() for path in folder.rglob("*")}
    assert json.loads(run(*arguments).stdout) == report
    assert {path: path.stat().st_mtime_ns for path in written} == written


def test_snapshots_by_number_are_spaced_by_equal_factors(tmp_path):
    run(*SMALL, "--steps", 16, "--snapshots", 3, "--run", tmp_path)
    assert list(snapshots_in(tmp_path / "network")) == [1, 4, 16]


def test_a_recipe_counts_epochs_of_the_images_and_gives_way_to_options(tmp_path, monkeypatch):
    whole = RECIPES["paper"]
    monkeypatch.setitem(RECIPES, "paper", lambda images, **size: whole(images // 20, **size))
    paper = ("digits", "--limit", 40, "--recipe", "paper", "--width", 16, "--depth", 1, "--run", tmp_path)
    assert json.loads(run(*paper, "--batch-size", 100, "--json").stdout)["steps"] == 300 * 2 / 100
    training = load_network(tmp_path / "network")[1].training
    assert training == whole(2).to_json() | {"batch_size": 100, "steps": 6}
    assert training["times"] == "thousandths"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--architecture", "mlp", "--padding", "circular"), "an mlp has no convolutions to pad"),
        (("--architecture", "mlp", "--recipe", "paper"), "there is no mlp of this recipe, got 'paper'. Known: cpu."),
        (("--snapshot", 3, "--snapshots", 2), "--snapshot names steps and --snapshots spaces them, got both"),
        (("--architecture", "unet", "--image-size", 9), "multiples of 4, got 9x9"),
        (("--architecture", "attention-unet", "--image-size", 12), "multiples of 8, got 12x12"),
        (("--width", 20), "width must be a multiple of 8"),
    ],
)
def test_what_makes_no_sense_is_refused_before_a_run_is_begun(arguments, message, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "run"
    command = ["patchmosaic", "train", "digits", "--limit", "20", "--steps", "2", "--run", folder, *arguments]
    monkeypatch.setattr(sys, "argv", [str(argument) for argument in command])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert not folder.exists()


def test_the_terminal_shows_the_loss_as_it_goes(tmp_path, monkeypatch):
    result = run(*SMALL, "--run", tmp_path)
    assert re.search(r"training the network: 6 of 6, .* left, loss \d\.\d{4}\n", result.stderr)
    screen = Console(force_terminal=True, record=True, width=110)
    monkeypatch.setattr(console, "stderr", screen)
    with console.progress_bars() as progress:
        progress(Work("training the network", "loss 0.1234"), 1, 2)
        progress("something else", 1, 3)
    shown = screen.export_text()
    assert re.search(r"training the network .*1/2.*loss 0\.1234", shown)
    assert re.search(r"something else .*1/3", shown)
