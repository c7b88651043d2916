import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from patchmosaic.data.imageset import ImageSet
from patchmosaic.errors import CheckpointError
from patchmosaic.networks import ResNet, TrainingSettings, load_network, save_network
from patchmosaic.noise import EDMSchedule

POOL = ImageSet(torch.zeros(4, 3, 8, 8), labels=[0, 1, 2, 1], name="greys")
SETTINGS = TrainingSettings(steps=7, learning_rate=2e-4)


def saved(folder: Path) -> ResNet:
    network = ResNet(3, 16, 2, "circular", num_classes=3, seed=5)
    save_network(folder, network, EDMSchedule(sigma_max=40.0), POOL, settings=SETTINGS)
    return network


def edit(folder: Path, **changes: Any) -> None:
    path = folder / "network.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_loaded_network_is_the_saved_one(tmp_path: Path) -> None:
    network = saved(tmp_path / "new" / "folder")
    loaded, record = load_network(tmp_path / "new" / "folder")
    x, t = torch.randn((2, 3, 8, 8), generator=torch.Generator().manual_seed(0)), torch.tensor([0.1, 0.8])
    label = torch.tensor([2, 0])
    assert torch.equal(loaded(x, t, label), network(x, t, label))
    assert not loaded.training
    assert loaded.config() == network.config()
    assert record.schedule == EDMSchedule(sigma_max=40.0)
    assert (record.prediction, record.image_shape, record.num_classes) == ("eps", (3, 8, 8), 3)
    assert record.data == {"name": "greys", "images": 4, "content_hash": POOL.content_hash}
    assert record.training is not None
    assert record.training["learning_rate"] == 2e-4
    assert record.versions["torch"] == torch.__version__


def test_save_returns_what_load_reads(tmp_path: Path) -> None:
    record = save_network(tmp_path, ResNet(3, 16, 1), EDMSchedule(), POOL)
    assert load_network(tmp_path)[1] == record
    assert record.training is None


def test_a_network_trained_in_channels_last_is_saved_alike(tmp_path: Path) -> None:
    network = saved(tmp_path / "a")
    again = save_network(tmp_path / "b", network.to(memory_format=torch.channels_last), EDMSchedule(), POOL)
    assert again.weights_sha256 == load_network(tmp_path / "a")[1].weights_sha256


def test_changed_weights_are_refused(tmp_path: Path) -> None:
    saved(tmp_path)
    path = tmp_path / "weights.safetensors"
    weights = load_file(path)
    weights["first.bias"] = weights["first.bias"] + 1e-3
    save_file(weights, path)
    with pytest.raises(CheckpointError, match=r"not those that network.json describes.*again"):
        load_network(tmp_path)


@pytest.mark.parametrize("name", ["weights.safetensors", "network.json"])
@pytest.mark.parametrize("damage", ["missing", "cut", "empty"])
def test_missing_or_damaged_files_are_errors_that_name_the_file(tmp_path: Path, name: str, damage: str) -> None:
    saved(tmp_path)
    path = tmp_path / name
    content = path.read_bytes()
    path.unlink()
    if damage != "missing":
        path.write_bytes(content[:100] if damage == "cut" else b"")
    with pytest.raises(CheckpointError, match=name):
        load_network(tmp_path)


def test_a_folder_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no such file.*right folder"):
        load_network(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": "Transformer"}, "unknown architecture 'Transformer'.*This version knows ResNet"),
        ({"config": {"channels": 3, "height": 2}}, "does not describe a ResNet"),
        ({"config": {"channels": 3, "width": 12}}, "does not describe a ResNet.*multiple of 8"),
        ({"config": {"channels": 3, "width": 32, "depth": 2, "num_classes": 3}}, "do not fit the ResNet"),
        ({"format_version": 2}, "format version 2, this PatchMosaic reads 1"),
        ({"prediction": "v"}, "predict eps"),
        ({"schedule": {"schedule": "Sigmoid"}}, "not the record of a network.*Sigmoid"),
        ({"image_shape": [3, 8]}, "not the record of a network"),
    ],
)
def test_records_of_something_else_are_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    saved(tmp_path)
    edit(tmp_path, **changes)
    with pytest.raises(CheckpointError, match=message):
        load_network(tmp_path)


def test_json_that_is_no_record_is_refused(tmp_path: Path) -> None:
    (tmp_path / "network.json").write_text("[1, 2]")
    with pytest.raises(CheckpointError, match="not the record of a network"):
        load_network(tmp_path)


def test_weights_that_are_not_safetensors_are_refused_even_with_the_right_hash(tmp_path: Path) -> None:
    saved(tmp_path)
    (tmp_path / "weights.safetensors").write_bytes(b"junk")
    edit(tmp_path, weights_sha256=hashlib.sha256(b"junk").hexdigest())
    with pytest.raises(CheckpointError, match="do not fit the ResNet"):
        load_network(tmp_path)


def test_only_networks_that_can_be_loaded_are_saved(tmp_path: Path) -> None:
    class Other(ResNet):
        pass

    with pytest.raises(CheckpointError, match=r"got Other\. Known: ResNet"):
        save_network(tmp_path, Other(3, 16, 1), EDMSchedule(), POOL)
    broken = ResNet(3, 16, 1)
    torch.nn.init.constant_(broken.last.weight, float("nan"))
    with pytest.raises(CheckpointError, match="finite"):
        save_network(tmp_path, broken, EDMSchedule(), POOL)
    assert not list(tmp_path.iterdir())
