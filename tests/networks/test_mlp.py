"""The MLP against its formula written out, the rank of its Jacobian, and a target that it can learn."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from patchmosaic.data.imageset import ImageSet
from patchmosaic.denoisers import NetworkDenoiser
from patchmosaic.errors import PatchMosaicError, ShapeError
from patchmosaic.networks import MLP, TrainingSettings, load_network, save_network, time_embedding, train
from patchmosaic.noise import CosineSchedule, EDMSchedule, NoiseSchedule
from patchmosaic.sampling import sample, seeds

SHAPE = (2, 3, 4)


def noise(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def x0_hat(network: MLP, x_t: Tensor, t: float) -> Tensor:
    alpha, sigma = network.schedule(t)
    return (x_t - sigma * network(x_t, torch.full((len(x_t),), t, dtype=x_t.dtype))) / alpha


@pytest.mark.parametrize("schedule", [CosineSchedule(), EDMSchedule()])
def test_it_is_its_formula(schedule: NoiseSchedule) -> None:
    network = MLP(SHAPE, (5, 7), schedule=schedule, embedding_width=8).double()
    t, x = 0.7, 4 * noise(3, *SHAPE).double()
    alpha, sigma = schedule(t)
    e = time_embedding(torch.full((3,), t, dtype=torch.float64), 8).clamp_min(0)
    h = x.flatten(1) / (alpha**2 + sigma**2) ** 0.5
    for layer, shift in zip(network.layers, network.shifts, strict=True):
        h = h @ layer.weight.T + layer.bias + e @ shift.weight.T
        h = torch.where(h > 0, h, 0.2 * h)
    expected = (h @ network.last.weight.T + network.last.bias).reshape(x.shape)
    torch.testing.assert_close(x0_hat(network, x, t), expected, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize(("widths", "rank"), [((9, 2, 9), 2), ((9, 1, 9), 1), ((30, 30), 24)])
def test_a_narrow_layer_leaves_a_surface_of_its_dimension(widths: tuple[int, ...], rank: int) -> None:
    network = MLP(SHAPE, widths).double()
    jacobian = torch.autograd.functional.jacobian(lambda x: x0_hat(network, x, 0.5), noise(1, *SHAPE).double())
    assert torch.linalg.matrix_rank(jacobian.reshape(24, 24), rtol=1e-10) == rank


def test_growing_width_costs_what_it_should() -> None:
    def count(**changes: Any) -> int:
        return sum(parameter.numel() for parameter in MLP(SHAPE, embedding_width=8, **changes).parameters())

    assert count(widths=(5,)) == (24 * 5 + 5) + 8 * 5 + (5 * 24 + 24)
    assert count(widths=(5, 6)) == (24 * 5 + 5) + (5 * 6 + 6) + 8 * (5 + 6) + (6 * 24 + 24)
    assert count(widths=(5,), num_classes=3) - count(widths=(5,)) == 3 * 8


def test_time_and_label_reach_the_output() -> None:
    network = MLP(SHAPE, (16, 16), num_classes=3)
    x, t, label = noise(1, *SHAPE), torch.tensor([0.2]), torch.tensor([0])
    assert (network(x, t + 0.5, label) - network(x, t, label)).abs().max() > 1e-4
    assert (network(x, t, label + 2) - network(x, t, label)).abs().max() > 1e-5


def test_images_of_another_shape_and_impossible_sizes_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"\(2, 3, 4\) and no other, got \(2, 4, 3\)"):
        MLP(SHAPE)(noise(1, 2, 4, 3), torch.tensor([0.5]))
    with pytest.raises(ShapeError, match="hidden layer"):
        MLP(SHAPE, ())
    with pytest.raises(ShapeError, match="image_shape"):
        MLP((3, 0, 2))
    with pytest.raises(PatchMosaicError, match="noise schedule"):
        MLP(SHAPE, schedule={"schedule": "Sigmoid"})


def test_a_saved_network_is_the_loaded_one(tmp_path: Any) -> None:
    network = MLP(SHAPE, (6, 2, 6), num_classes=2, schedule=EDMSchedule(sigma_max=9.0), seed=4)
    save_network(tmp_path, network, EDMSchedule(sigma_max=9.0), ImageSet(torch.zeros(2, *SHAPE), [0, 1]))
    loaded, _ = load_network(tmp_path)
    x, t, label = noise(2, *SHAPE), torch.tensor([0.2, 0.9]), torch.tensor([1, 0])
    assert torch.equal(loaded(x, t, label), network(x, t, label))
    assert loaded.config() == network.config()


def test_a_code_of_one_number_learns_a_curve() -> None:
    """Points on the diagonal of a square: one number says where, and samples lie on the line though noise fills the plane."""
    along = torch.linspace(-0.9, 0.9, 64)
    network = MLP((2, 1, 1), (64, 1, 64))
    settings = TrainingSettings(steps=1500, batch_size=64, learning_rate=3e-3, objective="log_mse", precision="float32")
    train(network, ImageSet(torch.stack([along, along], 1)[:, :, None, None]), CosineSchedule(), settings)
    samples = sample(NetworkDenoiser(network, image_shape=(2, 1, 1)), seeds(64, (2, 1, 1)), 20).x0[:, :, 0, 0]
    across = (samples[:, 0] - samples[:, 1]) / math.sqrt(2)
    assert across.square().mean().sqrt() < 0.05
    assert 0.3 < samples[:, 0].std() < 0.8  # uniform on the line: 0.52
