"""Gradients against maps that are known: a convolution's kernel, the rows of the Wiener filter, the square a ResNet can see."""

import json
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from patchmosaic.analysis.receptive_field import ReceptiveFields, receptive_fields, receptive_fields_along
from patchmosaic.data.imageset import ImageSet
from patchmosaic.denoisers import LocalDenoiser, NetworkDenoiser, WienerDenoiser
from patchmosaic.errors import CheckpointError, LabelError, NoiseLevelError, PatchMosaicError, ShapeError
from patchmosaic.networks import ResNet
from patchmosaic.noise import CosineSchedule, EDMSchedule
from patchmosaic.sampling import sample, seeds

TIMES = (0.9, 0.1, 0.5)


def pictures(count: int = 6, channels: int = 1, side: int = 8) -> Tensor:
    return 2 * torch.rand((count, channels, side, side), generator=torch.Generator().manual_seed(0)) - 1


class Linear(nn.Module):
    """A convolution of known kernel, of any time, times a number of the class."""

    def __init__(self, kernel: Tensor, gains: tuple[float, ...] = ()) -> None:
        super().__init__()
        self.kernel, self.gains = nn.Parameter(kernel), gains
        self.num_classes = len(gains) or None

    def forward(self, x_t: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        answer = nn.functional.conv2d(x_t, self.kernel, padding=self.kernel.shape[-1] // 2)
        return answer if label is None else answer * torch.tensor(self.gains)[label][:, None, None, None]


class Constant(nn.Module):
    """An answer on which x_t has no bearing."""

    def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
        return torch.ones_like(x_t)


def kernel(channels: int = 2, side: int = 3) -> Tensor:
    return torch.randn((channels, channels, side, side), generator=torch.Generator().manual_seed(1))


def test_of_a_convolution_it_is_the_kernel() -> None:
    weights = kernel()
    fields = receptive_fields(Linear(weights), pictures(channels=2), TIMES, output="eps")
    expected = np.zeros((8, 8))
    expected[3:6, 3:6] = np.abs(weights.double().numpy()).mean((0, 1))  # round (4, 4); conv2d does not turn its kernel
    assert fields.times == tuple(sorted(TIMES))
    np.testing.assert_allclose(fields.noise_levels, np.tan(np.pi * np.array(fields.times) / 2.016), rtol=1e-12)
    # eps of x0_hat, which cancels at high noise: hence 1e-4.
    np.testing.assert_allclose(fields.heat.numpy(), np.stack([expected] * 3), atol=1e-4)


def test_of_x0_it_is_what_the_kernel_takes_from_the_pixel() -> None:
    weights, schedule = kernel(1), EDMSchedule(sigma_max=9.0)
    denoiser = NetworkDenoiser(Linear(weights), schedule=schedule)
    fields = receptive_fields(denoiser, pictures(), TIMES, pixel=(2, 5))
    for heat, t in zip(fields.heat, fields.times, strict=True):
        alpha, sigma = (scale.item() for scale in schedule(t))
        row = np.zeros((8, 8))
        row[1:4, 4:7] = -sigma * weights[0, 0].double().numpy()
        row[2, 5] += 1
        np.testing.assert_allclose(heat.numpy(), np.abs(row) / alpha, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("channels", [1, 3])
def test_of_the_wiener_filter_it_is_a_row_of_its_matrix(channels: int) -> None:
    pool = ImageSet(pictures(40, channels, 5))
    fields = receptive_fields(WienerDenoiser(pool), pool.images.double()[:3], TIMES)
    vectors = pool.images.double().flatten(1).numpy()
    covariance = np.cov(vectors.T, bias=True)
    for heat, t in zip(fields.heat, fields.times, strict=True):
        alpha, sigma = (scale.item() for scale in CosineSchedule()(t))
        matrix = alpha * covariance @ np.linalg.inv(alpha**2 * covariance + sigma**2 * np.eye(len(covariance)))
        rows = np.abs(matrix).reshape(channels, 5, 5, channels, 5, 5)[:, 2, 2]  # (channels of x0, channels of x_t, 5, 5)
        np.testing.assert_allclose(heat.numpy(), rows.mean((0, 1)), atol=1e-10)


def test_a_resnet_sees_17_pixels_and_none_beyond() -> None:
    network = ResNet(1, width=16, depth=6)
    fields = receptive_fields(network, pictures(4, side=24), (0.3, 0.8))
    assert network.receptive_field == 17
    assert fields.widths(1.0) == (17, 17)
    beyond = torch.ones(24, 24, dtype=torch.bool)
    beyond[4:21, 4:21] = False
    assert (fields.heat[:, beyond] == 0).all()


@pytest.mark.parametrize("side", [1, 3, 5, 7])
def test_of_an_even_square_both_widths_are_its_side(side: int) -> None:
    fields = receptive_fields(Linear(torch.ones(1, 1, side, side)), pictures(side=9), (0.4,), output="eps")
    assert fields.widths() == (side,)
    assert fields.spreads() == pytest.approx((side,), rel=1e-3)
    assert fields.shares().sum().item() == pytest.approx(1.0)


def test_widths_by_counting() -> None:
    """A pyramid of masses 1 in the middle, 8 x 1 round it, 16 x 0.5 beyond: 1, 9 and 17 of 17 within 1, 3 and 5."""
    heat = torch.full((1, 7, 9), 0.0, dtype=torch.float64)
    heat[0, 1:6, 2:7], heat[0, 2:5, 3:6] = 0.5, 1.0
    fields = ReceptiveFields((0.5,), (1.0,), heat, (3, 4), "x0", 1)
    assert [fields.widths(share)[0] for share in (0.05, 0.5, 9 / 17, 0.6, 1.0)] == [1, 3, 3, 5, 5]
    # Sums of squared distances: 12 over the nine, 88 over the sixteen.
    assert fields.spreads()[0] == pytest.approx((1 + 6 * (12 + 0.5 * 88) / 17) ** 0.5)
    nothing = ReceptiveFields((0.5,), (1.0,), torch.zeros_like(heat), (3, 4), "x0", 1)
    assert (nothing.widths(), nothing.spreads()) == ((0,), (0.0,))


def test_each_image_is_seen_with_its_label_and_batches_change_nothing() -> None:
    network, images, labels = Linear(kernel(1), gains=(1.0, 3.0)), pictures(5), torch.tensor([0, 1, 1, 0, 1])
    told: list[tuple[int, int]] = []
    one = receptive_fields(network, images, (0.5, 0.7), labels, output="eps", progress=lambda what, *n: told.append(n))
    assert told == [(5, 10), (10, 10)]
    expected = kernel(1)[0, 0].abs().double() * (2 * 1 + 3 * 3) / 5
    torch.testing.assert_close(one.heat[0, 3:6, 3:6], expected, atol=1e-4, rtol=1e-4)
    in_batches = receptive_fields(network, images, (0.5, 0.7), labels, output="eps", batch_size=2)
    torch.testing.assert_close(in_batches.heat, one.heat, atol=1e-6, rtol=1e-6)


def test_along_its_trajectories_it_is_that_of_the_states_it_passes() -> None:
    network, x_T = ResNet(1, 16, 1), seeds(3, (1, 8, 8))
    fields = receptive_fields_along(network, x_T, steps=4)
    assert fields.times == (0.25, 0.5, 0.75, 1.0)
    states = sample(NetworkDenoiser(network), x_T, 4)
    t, x_t = states.times[2], states.states[2].requires_grad_()  # t = 0.5
    alpha, sigma = (scale.float() for scale in CosineSchedule()(t))
    x0_hat = (x_t - sigma * network(x_t, t.float().expand(3))) / alpha
    (gradient,) = torch.autograd.grad(x0_hat[:, 0, 4, 4].sum(), x_t)
    torch.testing.assert_close(fields.heat[1], gradient.abs().double().mean((0, 1)), rtol=1e-4, atol=1e-6)


def test_nothing_is_left_behind_in_the_network() -> None:
    network = ResNet(1, 16, 1)
    receptive_fields(network, pictures(2), (0.5,))
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not NetworkDenoiser(network)(pictures(2), 0.5).requires_grad


def test_json_and_back() -> None:
    fields = receptive_fields(ResNet(1, 16, 1), pictures(2), (0.5, 0.2))
    record = json.loads(json.dumps(fields.to_json()))
    again = ReceptiveFields.from_json(record)
    assert torch.equal(again.heat, fields.heat)
    assert again.to_json() == fields.to_json()
    assert record["widths"] == list(fields.widths())
    with pytest.raises(CheckpointError, match="receptive fields"):
        ReceptiveFields.from_json({"heat": []})


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"times": ()}, PatchMosaicError, "an image and a time"),
        ({"times": (0.0,)}, NoiseLevelError, "positive"),
        ({"pixel": (8, 0)}, ShapeError, "8x8"),
        ({"labels": torch.zeros(6, dtype=torch.int64)}, LabelError, "no classes"),
        ({"network": Linear(kernel(1), gains=(1.0,))}, LabelError, "class-conditional"),
        ({"network": LocalDenoiser(ImageSet(pictures()), 3)}, PatchMosaicError, "got LocalDenoiser. They see their patch_size"),
        ({"network": NetworkDenoiser(Constant(), "x0")}, PatchMosaicError, "cannot differentiate this denoiser"),
    ],
)
def test_what_has_no_receptive_field_is_refused(changes: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        receptive_fields(**{"network": Linear(kernel(1)), "images": pictures(), "times": (0.5,), **changes})
