"""The bounds against covariances of windows cut out one by one, and against their own definitions."""

import math

import numpy as np
import pytest
import torch

from patchmosaic.analysis.capacity import gaussian_information, white_critical_size
from patchmosaic.data import load
from patchmosaic.data.imageset import ImageSet


def test_the_critical_size_is_L_c_of_the_paper_at_high_noise():
    """sigma sqrt(ln |D|), in pixels and standard deviations, times sqrt(2 / C)."""
    for channels, std in [(1, 1.0), (3, 0.4)]:
        exact, scaling = white_critical_size(50 * std, 9.0, std, channels), 50 * math.sqrt(9.0) * math.sqrt(2 / channels)
        assert exact == pytest.approx(scaling, rel=1e-3)
    size = white_critical_size(0.7, 9.0, 0.5, 3)  # the window at which capacity is ln |D|, by definition
    assert 3 * size**2 / 2 * math.log(1 + (0.5 / 0.7) ** 2) == pytest.approx(9.0)


def windows(pool, size):
    """Every window of every image on the torus, as vectors."""
    radius = min(size // 2, pool.image_shape[1])
    shifts = range(-radius, radius + 1) if size < pool.image_shape[1] else range(pool.image_shape[1])
    seen = [pool.images.double().roll((-down, -right), (2, 3)) for down in shifts for right in shifts]
    return torch.stack(seen, -1).permute(0, 2, 3, 1, 4).flatten(3).flatten(0, 2).numpy()


def test_the_bound_is_that_of_the_covariance_of_all_windows():
    pool = ImageSet(
        0.5 * load("digits", None, limit=30).images.repeat(1, 2, 1, 1)
        + 0.1 * (2 * torch.rand((30, 1, 8, 8), generator=torch.Generator().manual_seed(0)) - 1)
    )
    bound, std = gaussian_information(pool, (1, 3, 9), (0.3, 2.0))
    assert std == pytest.approx(np.mean([pool.images[:, c].double().numpy().var() for c in range(2)]) ** 0.5)
    for j, size in enumerate((1, 3, 9)):
        covariance = np.cov(windows(pool, size).T, bias=True)
        for i, level in enumerate((0.3, 2.0)):
            expected = 0.5 * np.linalg.slogdet(np.eye(len(covariance)) + covariance / level**2)[1]
            assert float(bound[i, j]) == pytest.approx(expected, rel=1e-6)
