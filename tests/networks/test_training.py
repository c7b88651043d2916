import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from jaxtyping import TypeCheckError
from torch import Tensor, nn

from patchmosaic.data.imageset import ImageSet
from patchmosaic.errors import LabelError, NoiseLevelError, PatchMosaicError, ShapeError, ValueRangeError
from patchmosaic.networks import MLP, Network, ResNet, TrainingSettings, train
from patchmosaic.networks.batches import draw_batch
from patchmosaic.noise import CosineSchedule
from patchmosaic.progress import remark_of


class Gain(Network):
    """eps_hat = gain x_t: the smallest network, whose gradient is written by hand below."""

    channels, num_classes, receptive_field = 1, None, 1

    def __init__(self, gain: float = 0.0) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(gain))

    def forward(self, x_t: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        return self.gain * x_t

    def config(self) -> dict[str, Any]:
        return {}


def black_or_white(count: int = 16, side: int = 8) -> ImageSet:
    signs = 1.0 - 2.0 * (torch.arange(count) % 2)
    return ImageSet(signs[:, None, None, None].expand(count, 1, side, side), labels=torch.arange(count) % 2)


@pytest.mark.parametrize(
    ("lr_schedule", "rates"),
    [
        ("constant", [0.01] * 4),
        ("exponential", [0.01, 0.01 * 0.999965, 0.01 * 0.999965**2, 0.01 * 0.999965**3]),
        ("cosine", [0.01, 0.01 * (2 + math.sqrt(2)) / 4, 0.005, 0.01 * (2 - math.sqrt(2)) / 4]),
    ],
)
@pytest.mark.parametrize("objective", ["mse", "log_mse"])
def test_the_loop_is_adam_on_the_objective(objective: Any, lr_schedule: Any, rates: list[float]) -> None:
    pool, network = black_or_white(), Gain(0.2)
    settings = TrainingSettings(4, 6, 0.01, lr_schedule, seed=9, precision="float32", objective=objective)
    result = train(network, pool, CosineSchedule(), settings)

    gain, first, second, losses = 0.2, 0.0, 0.0, []
    for step, rate in enumerate(rates):  # Kingma & Ba 2015, algorithm 1
        batch = draw_batch(pool, CosineSchedule(), 6, seed=9, step=step)
        x, eps = batch.x_t.double(), batch.eps.double()
        loss = ((gain * x - eps) ** 2).mean((1, 2, 3))  # of each image
        losses.append(loss.mean().item())
        slope = (2 * (gain * x - eps) * x).mean((1, 2, 3))
        gradient = (slope if objective == "mse" else slope / loss).mean().item()  # d log(loss) = d loss / loss
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        corrected = (first / (1 - 0.9 ** (step + 1)), second / (1 - 0.999 ** (step + 1)))
        gain -= rate * corrected[0] / (math.sqrt(corrected[1]) + 1e-8)
    assert network.gain.item() == pytest.approx(gain, rel=1e-5)
    assert result.losses.tolist() == pytest.approx(losses, rel=1e-5)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_training_beats_every_predictor_that_sees_one_pixel_linearly(precision: Any) -> None:
    """Pixels are +-1: linearly in one pixel, the best eps_hat is sigma x_t, and its loss is the mean of alpha² over t."""
    bound = 0.5 + math.sin(2 * math.pi / 2.016) * 2.016 / (4 * math.pi)  # integral of cos²(pi t / 2.016)
    network = ResNet(1, width=16, depth=2)
    settings = TrainingSettings(steps=200, batch_size=32, learning_rate=3e-3, precision=precision)
    losses = train(network, black_or_white(), CosineSchedule(), settings).losses
    assert losses[0] > bound
    assert losses[-50:].mean() < 0.5 * bound


def test_a_conditional_network_uses_its_labels() -> None:
    """The label tells black from white, so that even a single pixel at high noise reveals eps."""
    losses = [
        train(
            ResNet(1, width=16, depth=1, num_classes=classes),
            black_or_white(side=1),
            CosineSchedule(),
            TrainingSettings(steps=150, batch_size=64, learning_rate=3e-3),
        )
        .losses[-50:]
        .mean()
        .item()
        for classes in (None, 2)
    ]
    assert losses[1] < 0.7 * losses[0]


def test_metrics_and_progress_tell_of_every_step(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    settings = TrainingSettings(steps=5, batch_size=2)
    result = train(Gain(), black_or_white(), CosineSchedule(), settings, tmp_path, progress=lambda what, *n: calls.append(n))
    assert calls == [(1, 5), (2, 5), (3, 5), (4, 5), (5, 5)]
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5]
    assert [line["loss"] for line in lines] == result.losses.tolist()


def test_progress_remarks_on_the_loss_of_the_last_hundred_steps() -> None:
    remarks: list[str] = []
    settings = TrainingSettings(steps=120, batch_size=2)
    losses = train(
        Gain(), black_or_white(), CosineSchedule(), settings, progress=lambda what, *n: remarks.append(remark_of(what))
    ).losses
    assert remarks[4] == f"loss {losses[:5].mean():.4f}"
    assert remarks[119] == f"loss {losses[20:].mean():.4f}"


def test_seed_decides_the_result_and_the_global_state_does_not() -> None:
    gains = []
    for seed, state in ((0, 1), (0, 2), (1, 1)):
        torch.manual_seed(state)
        network = Gain()
        train(network, black_or_white(), CosineSchedule(), TrainingSettings(steps=3, batch_size=4, seed=seed))
        gains.append(network.gain.item())
    assert gains[0] == gains[1] != gains[2]


def test_divergence_is_an_error_and_leaves_no_broken_state(tmp_path: Path) -> None:
    settings = TrainingSettings(steps=50, batch_size=4, learning_rate=1e30, precision="float32")
    with pytest.raises(ValueRangeError, match=r"diverged.*step \d+.*Lower learning_rate"):
        train(Gain(), black_or_white(), CosineSchedule(), settings, tmp_path, save_every=1e9)
    assert not list(tmp_path.glob("*.safetensors"))


@pytest.mark.parametrize(
    "changes",
    [
        {"steps": 0},
        {"batch_size": -1},
        {"learning_rate": math.nan},
        {"lr_schedule": "linear"},
        {"precision": "float16"},
        {"ema_half_life": 0.0},
        {"times": "hundredths"},
    ],
)
def test_settings_that_mean_nothing_are_refused(changes: dict[str, Any]) -> None:
    # Where annotations are checked at run time, an unknown choice is refused before our own check sees it.
    with pytest.raises((PatchMosaicError, TypeCheckError), match=next(iter(changes))):
        TrainingSettings(**changes)


def test_a_network_that_does_not_fit_the_pool_is_refused() -> None:
    settings = TrainingSettings(steps=1, batch_size=1)
    with pytest.raises(ShapeError, match="3 channels"):
        train(ResNet(3, 16, 1), black_or_white(), CosineSchedule(), settings)
    with pytest.raises(LabelError, match="needs labelled images"):
        train(ResNet(1, 16, 1, num_classes=2), ImageSet(torch.zeros(1, 1, 4, 4)), CosineSchedule(), settings)
    with pytest.raises(NoiseLevelError, match=r"estimate x0 .* Take times=.continuous"):
        train(MLP((1, 8, 8)), black_or_white(), CosineSchedule(), replace(settings, times="thousandths"))
    with pytest.raises(LabelError, match="classes 0 to 0, got images of class 1"):
        train(ResNet(1, 16, 1, num_classes=1), black_or_white(), CosineSchedule(), settings)
