"""Snapshots: the network of a step, whole or absent, of this run and no other."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from patchmosaic.data.imageset import ImageSet
from patchmosaic.errors import CheckpointError, PatchMosaicError
from patchmosaic.networks import (
    ResNet,
    TrainingSettings,
    load_network,
    log_spaced_steps,
    snapshots_in,
    steps_of_epochs,
    train,
)
from patchmosaic.networks.batches import batch_index
from patchmosaic.noise import CosineSchedule

POOL = ImageSet(2 * torch.rand((7, 1, 8, 8), generator=torch.Generator().manual_seed(0)) - 1)
SETTINGS = TrainingSettings(steps=8, batch_size=5, lr_schedule="constant", precision="float32")


def run(folder: Path | None, snapshots: tuple[int, ...], settings: TrainingSettings = SETTINGS) -> ResNet:
    network = ResNet(1, 16, 1)
    train(network, POOL, CosineSchedule(), settings, folder, snapshots=snapshots)
    return network


def test_a_snapshot_is_the_network_of_a_training_that_ends_there(tmp_path: Path) -> None:
    """At a constant rate nothing depends on how many steps are still to come."""
    run(tmp_path, (0, 3, 8))
    assert list(snapshots_in(tmp_path)) == [0, 3, 8]
    for step, place in snapshots_in(tmp_path).items():
        expected = ResNet(1, 16, 1) if step == 0 else run(None, (), replace(SETTINGS, steps=step))
        found, record = load_network(place)
        assert record.training == SETTINGS.to_json()
        for one, two in zip(found.state_dict().values(), expected.state_dict().values(), strict=True):
            assert torch.equal(one, two)


def test_a_finished_run_can_still_give_its_last_network_but_none_that_it_has_passed(tmp_path: Path) -> None:
    run(tmp_path, (3,))
    run(tmp_path, (3, 8))
    assert list(snapshots_in(tmp_path)) == [3, 8]
    with pytest.raises(CheckpointError, match=r"has passed step 5 without a snapshot, got 8 steps done"):
        run(tmp_path, (3, 5))


def test_what_another_run_left_in_the_folder_is_replaced(tmp_path: Path) -> None:
    run(tmp_path, (3,))
    (tmp_path / "training.safetensors").unlink()
    before = load_network(snapshots_in(tmp_path)[3])[1]
    half_written = tmp_path / "snapshots" / ".step-000003"
    half_written.mkdir()
    (half_written / "weights.safetensors").write_bytes(b"cut off")
    run(tmp_path, (3,), replace(SETTINGS, seed=1))
    after = load_network(snapshots_in(tmp_path)[3])[1]
    assert after.weights_sha256 != before.weights_sha256
    assert [path.name for path in (tmp_path / "snapshots").iterdir()] == ["step-000003"]


def test_snapshots_that_cannot_be_are_refused_before_anything_is_done(tmp_path: Path) -> None:
    with pytest.raises(PatchMosaicError, match="steps 0 to 8, got 9"):
        run(tmp_path, (3, 9))
    with pytest.raises(PatchMosaicError, match="need a folder"):
        run(None, (3,))
    assert not list(tmp_path.iterdir())


def test_log_spaced_steps_grow_by_equal_factors_up_to_the_last() -> None:
    assert log_spaced_steps(4, 1000) == (1, 10, 100, 1000)
    assert log_spaced_steps(1, 1000) == (1000,)
    assert log_spaced_steps(50, 6) == (1, 2, 3, 4, 5, 6)
    with pytest.raises(PatchMosaicError, match="at least one"):
        log_spaced_steps(0, 6)


@pytest.mark.parametrize(("epochs", "images", "batch_size"), [(3, 7, 5), (1, 10, 5), (2, 3, 50)])
def test_after_so_many_epochs_every_image_has_been_seen_so_often(epochs: int, images: int, batch_size: int) -> None:
    steps = steps_of_epochs(epochs, images, batch_size)
    for count, enough in ((steps, True), (steps - 1, False)):
        seen = [torch.empty(0, dtype=torch.int64), *(batch_index(images, batch_size, 0, step) for step in range(count))]
        assert (torch.cat(seen).bincount(minlength=images).min() >= epochs) == enough
