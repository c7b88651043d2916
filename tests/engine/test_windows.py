"""Windows against brute force in float64 NumPy, and what float32 may do to them."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from patchmosaic.engine import windows
from patchmosaic.engine.memory import DEFAULT_BUDGET
from patchmosaic.engine.precision import TOLERANCE, log_weight_error
from patchmosaic.engine.windows import patches, placed, soft_patch_posterior, window_posterior


def brute_force(query, gamma, images, weights_of, value_size):
    """The mean patch of each window: (h, w, C, rows, columns) for a grid of rows x columns windows."""
    _, channels, height, width = images.shape
    h, w = value_size
    rows, columns = height - h + 1, width - w + 1
    means = np.zeros((h, w, channels, rows, columns))
    for number, window in enumerate(weights_of):
        row, column = divmod(number, columns)
        log_weights = -gamma / 2 * (((query - images) ** 2).sum(1).reshape(len(images), -1) @ window)
        weights = np.exp(log_weights - log_weights.max())
        mean = np.tensordot(weights / weights.sum(), images[:, :, row : row + h, column : column + w], 1)  # (C, h, w)
        means[..., row, column] = mean.transpose(1, 2, 0)
    return means


def means(state, value_size, channels):
    """The same from the engine, whose values are in the order of torch's unfold: channel, row, column."""
    h, w = value_size
    mean = state.mean()
    return mean.unflatten(1, (channels, h, w)).permute(0, 2, 3, 1, 4, 5).numpy()


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    channels=st.integers(1, 3),
    height=st.integers(1, 5),
    width=st.integers(1, 5),
    count=st.integers(1, 9),
    log_gamma=st.floats(-3, 5),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    data=st.data(),
)
def test_any_windows_and_any_values(seed, channels, height, width, count, log_gamma, dtype, data):
    size = data.draw(st.integers(1, height)), data.draw(st.integers(1, width))
    rng = np.random.default_rng(seed)
    images = rng.uniform(-1, 1, (count, channels, height, width)).astype(np.float32).astype(np.float64)
    queries = images[:1] + rng.standard_normal((2, channels, height, width)) * 10 ** (-log_gamma / 2)
    seen = rng.uniform(0, 3, ((height - size[0] + 1) * (width - size[1] + 1), height * width))
    seen *= rng.uniform(size=seen.shape) < 0.7
    gamma = torch.tensor([10.0**log_gamma, 0.3 * 10.0**log_gamma], dtype=torch.float64)
    state = window_posterior(
        torch.from_numpy(queries),
        gamma,
        torch.from_numpy(images).float(),
        None,
        torch.from_numpy(seen),
        size,
        dtype,
        DEFAULT_BUDGET,
    )
    result = means(state, size, channels)
    for query, precision, mine in zip(queries, gamma.tolist(), result, strict=True):
        expected = brute_force(query, precision, images, seen, size)
        error = np.linalg.norm(mine - expected) / max(np.linalg.norm(expected), 1e-3)
        assert error < (1e-5 if dtype == torch.float32 else 1e-9)


def test_float32_is_redone_where_its_error_would_show():
    """Low noise and two images that nearly tie in every window: one pass in float32 is wrong, and is not believed."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(2, 1, 8, 8, generator=generator) * 2 - 1
    queries = images.double().mean(0, keepdim=True) + 1e-5 * torch.randn(1, 1, 8, 8, generator=generator).double()
    gamma = torch.tensor([3e4], dtype=torch.float64)
    question = (images, None, placed(2 * torch.ones(15, 15).double(), 8, 8), (1, 1))
    exact = window_posterior(queries, gamma, *question, torch.float64, DEFAULT_BUDGET).mean()
    redone = window_posterior(queries, gamma, *question, torch.float32, DEFAULT_BUDGET).mean()
    assert (redone - exact).norm() <= 1e-5 * exact.norm()
    believed = windows._one_pass(queries.float(), gamma, *question, DEFAULT_BUDGET).mean()
    assert (believed - exact).norm() > 1e-4 * exact.norm()


def test_float32_is_right_where_it_is_believed():
    """Over noise levels and windows: no query whose estimated error is within the tolerance is off by more than 1e-5."""
    believed = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        images = torch.from_numpy(rng.uniform(-1, 1, (30, 1, 6, 6))).float()
        gamma = torch.tensor([10 ** rng.uniform(-1, 5)], dtype=torch.float64)
        queries = images[:1].double() + torch.from_numpy(rng.standard_normal((1, 1, 6, 6))) / gamma.sqrt()
        window = torch.from_numpy(rng.uniform(0, 2, (36, 36)))
        if seed % 2:
            window = placed(torch.from_numpy(rng.uniform(0, 2, (3, 3))), 6, 6)
        question = (gamma, images, None, window, (1, 1), DEFAULT_BUDGET)
        single = windows._one_pass(queries.float(), *question)
        double = windows._one_pass(queries, *question).mean()
        error = log_weight_error(single, queries.float(), gamma, float(window.max()))
        if float(single.rounding_error(error)) <= TOLERANCE:
            believed += 1
            assert (single.mean() - double).norm() < 1e-5 * double.norm()
    assert believed > 20


@pytest.mark.parametrize(("height", "width", "size"), [(4, 5, 3), (1, 4, 5), (3, 3, 1), (2, 6, 13)])
def test_placed_windows_are_cut_at_the_border(height, width, size):
    window = torch.arange(1.0, size * size + 1).double().view(size, size)
    laid = placed(window, height, width).view(height, width, height, width)
    for row, column, q, q2 in np.ndindex(height, width, height, width):
        down, across = q - row + size // 2, q2 - column + size // 2
        reached = 0 <= down < size and 0 <= across < size
        assert laid[row, column, q, q2] == (window[down, across] if reached else 0)


def test_patches_are_all_inside():
    inside = patches((2, 3), 3, 5)
    assert inside.shape == (2 * 3, 15)
    assert bool((inside.sum(1) == 6).all())
    assert inside[4].view(3, 5).nonzero().tolist() == [[1, 1], [1, 2], [1, 3], [2, 1], [2, 2], [2, 3]]


class Largest(TorchDispatchMode):
    """Notes the size of every new tensor."""

    def __init__(self):
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor):
            self.bytes = max(self.bytes, result.numel() * result.element_size())
        return result


@pytest.mark.parametrize("way", ["windows", "patches of 5", "soft"])
def test_no_tensor_is_larger_than_the_budget(way):
    budget = 3 * 2**20
    images = torch.rand(300, 2, 12, 12)
    queries, gamma = images[:2].double(), torch.tensor([1.0, 30.0], dtype=torch.float64)
    with Largest() as largest:
        if way == "windows":
            window_posterior(queries, gamma, images, None, torch.rand(144, 144), (1, 1), torch.float32, budget)
        elif way == "soft":
            window = torch.rand(7, 7).double()
            soft_patch_posterior(queries, gamma, images, None, "anywhere", window, torch.float32, budget)
        else:
            window_posterior(queries, gamma, images, None, patches((5, 5), 12, 12), (5, 5), torch.float32, budget)
    assert 2**16 < largest.bytes <= budget
