"""The sums over whole images in C++ against numpy, on every instruction set; and that their rounding is what is said of it."""

import numpy as np
import pytest
import torch

from patchmosaic.engine.distances import SquaredDifferences
from patchmosaic.engine.native.instructions import instruction_sets
from patchmosaic.engine.native.whole_images import compute_anew, half_squared_distances, weighted_sums

pytestmark = pytest.mark.skipif(not instruction_sets(), reason="the native kernel was not built: no C++ compiler here")


@pytest.fixture(params=instruction_sets())
def instructions(request):
    return request.param


def case(seed):
    """(queries, images, index, their numbers): few queries and many, up to thousands of numbers, some in the middle."""
    rng = np.random.default_rng(seed)
    shape = (int(rng.choice([1, 3])), int(rng.integers(1, 40)), int(rng.choice([1, 16, 23, 32])))
    batch, count = int(rng.integers(1, 10)), int(rng.choice([1, 17, 150]))
    images = torch.from_numpy(rng.integers(0, 256, (count, *shape), dtype=np.uint8))
    numbers = images.float() / 127.5 - 1
    index = torch.from_numpy(rng.integers(0, count, 2 * count)) if seed % 2 else None
    y = torch.from_numpy(rng.standard_normal((batch, numbers[0].numel())))
    chosen = numbers if index is None else numbers[index]
    return y, images if seed % 3 else numbers, index, chosen.double().flatten(1)


@pytest.mark.parametrize("seed", range(24))
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-13)])
def test_both_sums(instructions, seed, dtype, tolerance):
    y, images, index, numbers = case(seed)
    start, stop = len(numbers) // 3, len(numbers)
    expected = 0.5 * (y[:, None] - numbers[None, start:stop]).square().sum(2)
    half = half_squared_distances(y.to(dtype), images, index, start, stop, instructions)
    assert (half - expected).abs().max() < tolerance * expected.max()

    weights = torch.exp(expected.amin(1, keepdim=True) - expected)
    weights[:, ::3] = 0.0
    sums = weighted_sums(weights.to(dtype), images, index, start, stop, instructions)
    assert (sums - weights @ numbers[start:stop]).abs().max() <= tolerance * weights.sum(1).max()


@pytest.mark.parametrize("seed", range(12))
def test_only_what_is_asked_for_is_computed_anew(instructions, seed):
    y, images, index, numbers = case(seed)
    expected = 0.5 * (y[:, None] - numbers[None]).square().sum(2)
    where = torch.from_numpy(np.random.default_rng(seed).random(expected.shape) < 0.3)
    half = torch.full_like(expected, -1.0)
    compute_anew(half, where, y, images, index, 0, len(numbers), instructions)
    assert torch.equal(half[~where], torch.full_like(half[~where], -1.0))
    assert torch.allclose(half[where], expected[where], rtol=1e-13)


@pytest.mark.parametrize("kept", [torch.uint8, torch.float32])
@pytest.mark.parametrize("size", [3, 100, 784, 3072])
def test_log_weights_are_as_exact_as_is_said(instructions, kept, size):
    """Errors of images that are about equally far, less what they have in common, which changes no weight."""
    rng = np.random.default_rng(size)
    images = torch.from_numpy(rng.integers(0, 256, (500, 1, 1, size), dtype=np.uint8))
    images = images if kept == torch.uint8 else images / 127.5 - 1
    for sigma in (0.05, 1.0, 30.0):
        y = torch.from_numpy(sigma * rng.standard_normal((6, size)))
        gamma = torch.full((6,), sigma**-2, dtype=torch.float64)
        way, truth = (SquaredDifferences(y, images, None, dtype, instructions) for dtype in (torch.float32, torch.float64))
        exact = truth.half_squared_distances(0, 500)
        error = gamma[:, None] * (way.half_squared_distances(0, 500) - exact)
        near = exact.topk(50, largest=False)
        spread = error.gather(1, near.indices).std(1)
        assert (spread < way.log_weight_error(gamma, near.values[:, -1])).all()
