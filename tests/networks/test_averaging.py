"""The average of the weights against its sum written out."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from patchmosaic.data.imageset import ImageSet
from patchmosaic.networks import ResNet, TrainingSettings, UNet, load_network, save_trained, train
from patchmosaic.networks.averaging import averaged_copy, decay, update
from patchmosaic.networks.training import TrainingResult
from patchmosaic.noise import CosineSchedule

POOL = ImageSet(2 * torch.rand((7, 1, 8, 8), generator=torch.Generator().manual_seed(0)) - 1)
SETTINGS = TrainingSettings(steps=9, batch_size=5, learning_rate=1e-2, ema_half_life=12.0, precision="float32")


def trained(settings: TrainingSettings, seen: list[torch.Tensor] | None = None) -> tuple[ResNet, TrainingResult]:
    """A small network after training, and the weights of its last layer after each step in `seen`."""
    network = ResNet(1, 16, 1)

    def keep(what: str, done: int, total: int) -> None:
        if seen is not None:
            seen.append(network.last.weight.detach().double().clone())

    return network, train(network, POOL, CosineSchedule(), settings, progress=keep)


def test_the_average_is_the_weighted_mean_of_the_weights_after_each_step() -> None:
    seen: list[torch.Tensor] = []
    _, result = trained(SETTINGS, seen)
    kept = [2 ** (-5 / min(12.0, 5 * step / 20)) for step in range(1, 10)]
    shares = [1.0]  # of the first weights, then of those after each step
    for d in kept:
        shares = [d * share for share in shares] + [1 - d]
    assert sum(shares) == pytest.approx(1.0)
    first = ResNet(1, 16, 1).last.weight.detach().double()
    expected = sum(share * weights for share, weights in zip(shares, [first, *seen], strict=True))
    assert isinstance(result.average, ResNet)
    torch.testing.assert_close(result.average.last.weight.double(), expected, atol=1e-6, rtol=1e-5)


def test_after_a_half_life_a_weight_counts_half() -> None:
    mean, now = nn.Linear(1, 1), nn.Linear(1, 1)
    nn.init.constant_(mean.weight, 1.0)
    nn.init.constant_(now.weight, 0.0)
    for step in range(100_000, 100_025):  # so late that the half-life no longer grows
        update(mean, now, decay(1000.0, batch_size=40, step=step))
    assert mean.weight.item() == pytest.approx(0.5, rel=1e-5)


def test_averaging_changes_nothing_of_the_training() -> None:
    plain, without = trained(TrainingSettings(**{**SETTINGS.to_json(), "ema_half_life": None}))
    averaged, result = trained(SETTINGS)
    assert without.average is None
    assert torch.equal(without.losses, result.losses)
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), averaged.parameters(), strict=True))


def test_running_statistics_are_those_of_the_network() -> None:
    network = UNet(1, (4, 8), normalisation="batch")
    average = averaged_copy(network)
    network.train()(torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.full((3,), 0.5))
    update(average, network, 0.9)
    assert not average.training
    for one, two in zip(average.buffers(), network.buffers(), strict=True):
        assert torch.equal(one, two)


@pytest.mark.parametrize("half_life", [12.0, None])
def test_what_is_saved_is_the_average_and_the_raw_weights_beside_it(tmp_path: Path, half_life: Any) -> None:
    settings = TrainingSettings(**{**SETTINGS.to_json(), "ema_half_life": half_life})
    network, result = trained(settings)
    save_trained(tmp_path, network, result.average, CosineSchedule(), POOL, settings)
    used, record = load_network(tmp_path)
    assert record.averaged is (half_life is not None)
    assert torch.equal(used.state_dict()["last.weight"], (result.average or network).state_dict()["last.weight"])
    assert (tmp_path / "raw").exists() is record.averaged
    if record.averaged:
        raw, raw_record = load_network(tmp_path / "raw")
        assert not raw_record.averaged
        assert torch.equal(raw.state_dict()["last.weight"], network.last.weight)
