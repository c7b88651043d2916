"""Mixtures on the line, beside NumPy and scipy."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from patchmosaic.errors import PatchMosaicError
from patchmosaic.laws.mixture import MixtureLine

VALUES, WEIGHTS = np.array([0.5, -1.0, 0.5, 2.0]), np.array([0.2, 0.4, 0.3, 0.1])


def test_points_jump():
    line = MixtureLine(VALUES, WEIGHTS, 0.0)
    x = np.array([-2, -1 - 1e-12, -1, 0, 0.5, 1.9, 2, 7])
    np.testing.assert_allclose(line.cdf(x), [0, 0, 0.4, 0.4, 0.9, 0.9, 1, 1], atol=1e-15)
    p = np.array([1e-9, 0.39, 0.41, 0.89, 0.91, 1 - 1e-9])
    np.testing.assert_array_equal(line.ppf(p), [-1, -1, 0.5, 0.5, 2, 2])
    with pytest.raises(PatchMosaicError, match="density"):
        line.pdf(x)


def test_blurred_points_are_a_gaussian_mixture():
    line = MixtureLine(VALUES, WEIGHTS, 0.3)
    x = np.linspace(-2, 3, 11)
    np.testing.assert_allclose(line.cdf(x), WEIGHTS @ norm.cdf(x, VALUES[:, None], 0.3), atol=1e-14)
    np.testing.assert_allclose(line.pdf(x), WEIGHTS @ norm.pdf(x, VALUES[:, None], 0.3), atol=1e-14)
    assert quad(lambda x: float(line.pdf(np.array(x))), -3, 4)[0] == pytest.approx(1, abs=1e-7)
    p = np.array([1e-8, 0.2, 0.5, 0.77, 1 - 1e-8])
    np.testing.assert_allclose(line.cdf(line.ppf(p)), p, atol=1e-13)
