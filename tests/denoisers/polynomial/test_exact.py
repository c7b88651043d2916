"""The exact polynomial against its normal equations in rational arithmetic, and the theorems on what it generates."""

from fractions import Fraction
from itertools import product
from math import comb, factorial, prod

import numpy as np
import pytest
import torch
from scipy.special import roots_jacobi
from scipy.stats import wasserstein_distance

from patchmosaic.data.imageset import ImageSet
from patchmosaic.data.targets import bimodal, polygon
from patchmosaic.denoisers import IdealDenoiser
from patchmosaic.denoisers.polynomial import ExactPolynomialDenoiser
from patchmosaic.errors import PatchMosaicError, ShapeError, ValueRangeError
from patchmosaic.noise import EDMSchedule
from patchmosaic.sampling import log_uniform_times, sample, seeds

SCHEDULE = EDMSchedule()
FOUR = torch.tensor([[-0.9], [-0.2], [0.3], [0.8]], dtype=torch.float64)


def at_level(denoiser, y, sigma):
    """x0_hat of points (n, D) at a noise level; alpha is 1."""
    return denoiser(y[:, :, None, None], float(SCHEDULE.time_of_snr(sigma**-2)))[:, :, 0, 0]


def trajectory(denoiser, z, steps):
    """From the seeds z (n, D), by Heun's method."""
    x_T = SCHEDULE.prior_std() * z[:, :, None, None]
    return sample(denoiser, x_T, times=log_uniform_times(SCHEDULE, steps, 0.0021), solver="heun")


def drawn(denoiser, z, steps):
    """The samples of the seeds z (n, D)."""
    return trajectory(denoiser, z, steps).x0[:, :, 0, 0]


def normal_equations(points, weights, degree, sigma, y):
    """G c = b in Hermite features, and its polynomial at y, exactly: G_ab and b_a from raw moments."""
    dimension = len(points[0])
    sigma = Fraction(sigma)
    points = [[Fraction(x) for x in point] for point in points]
    weights = [Fraction(w) for w in weights]
    exponents = [a for a in product(range(degree + 1), repeat=dimension) if sum(a) <= degree]

    def moment(a, times=None):
        return sum(
            w * prod(x**k for x, k in zip(point, a, strict=True)) * (1 if times is None else point[times])
            for point, w in zip(points, weights, strict=True)
        )

    def gram(a, b):
        return sum(
            prod(factorial(k) * comb(i, k) * comb(j, k) for i, j, k in zip(a, b, shared, strict=True))
            * sigma ** (2 * sum(shared))
            * moment([i + j - 2 * k for i, j, k in zip(a, b, shared, strict=True)])
            for shared in product(*(range(min(i, j) + 1) for i, j in zip(a, b, strict=True)))
        )

    rows = [[gram(a, b) for b in exponents] + [moment(a, i) for i in range(dimension)] for a in exponents]
    for k, pivot in enumerate(rows):  # Gauss & Jordan; a positive definite system needs no pivoting
        rows[k] = [value / pivot[k] for value in pivot]
        for other in range(len(rows)):
            if other != k:
                factor = rows[other][k]
                rows[other] = [value - factor * mine for value, mine in zip(rows[other], rows[k], strict=True)]
    answers = []
    for point in y:
        hermite = [[Fraction(1), Fraction(x)] for x in point]
        for values in hermite:
            for k in range(1, degree):
                values.append(values[1] * values[k] - k * sigma**2 * values[k - 1])
        features = [prod(values[k] for values, k in zip(hermite, a, strict=True)) for a in exponents]
        answers.append(
            [float(sum(f * row[len(rows) + i] for f, row in zip(features, rows, strict=True))) for i in range(dimension)]
        )
    return np.array(answers)


@pytest.mark.parametrize("sigma", [0.05, 0.5, 10.0])
@pytest.mark.parametrize(("dimension", "degree"), [(1, 1), (1, 3), (1, 7), (1, 12), (2, 1), (2, 3), (2, 4), (3, 2)])
def test_solves_the_normal_equations(dimension, degree, sigma):
    """Acceptance 10: the Gram matrix in its closed form, in fractions, gives the same polynomial."""
    rng = np.random.default_rng(degree)
    points, weights = rng.uniform(-1, 1, (6, dimension)), np.array([1, 2, 1, 2, 1, 1]) / 8
    y = np.vstack([points[:2], sigma * rng.standard_normal((4, dimension))])
    denoiser = ExactPolynomialDenoiser.from_points(
        torch.from_numpy(points), torch.from_numpy(weights), degree=degree, schedule=SCHEDULE, limit=1e9
    )
    level = float(SCHEDULE.noise_level(SCHEDULE.time_of_snr(sigma**-2)))
    expected = normal_equations(points.tolist(), weights.tolist(), degree, level, y.tolist())
    np.testing.assert_allclose(at_level(denoiser, torch.from_numpy(y), sigma), expected, rtol=1e-9, atol=1e-10)


def test_no_polynomial_fits_drawn_noise_better():
    """Least squares on many noisy copies comes as close as chance lets it."""
    denoiser = ExactPolynomialDenoiser.from_points(FOUR, degree=4, schedule=SCHEDULE)
    x0 = FOUR.repeat(100_000, 1)
    y = x0 + 0.4 * torch.from_numpy(np.random.default_rng(0).standard_normal(x0.shape))
    features = np.polynomial.hermite_e.hermevander(y[:, 0].numpy(), 4)
    fitted, *_ = np.linalg.lstsq(features, x0.numpy(), rcond=None)
    best = ((features @ fitted - x0.numpy()) ** 2).mean()
    ours = float((at_level(denoiser, y, 0.4) - x0).square().mean())
    assert best <= ours <= best * 1.0003


@pytest.mark.parametrize("degree", [1, 2, 3, 5, 7])
def test_a_target_and_its_gauss_rule_draw_the_same_samples(degree):
    """Acceptance 11: only moments up to order 2d count, here of a distribution with density 1 - x on [-1, 1], or its square."""
    z = seeds(30, (2, 1, 1))[:, :, 0, 0].double()
    lines = {count: [torch.from_numpy(part) for part in roots_jacobi(count, 1, 0)] for count in (degree, degree + 1, 40)}
    on_line, on_square = {}, {}
    for count, (nodes, weights) in lines.items():
        denoiser = ExactPolynomialDenoiser.from_points(0.8 * nodes[:, None], weights, degree=degree, schedule=SCHEDULE)
        on_line[count] = drawn(denoiser, z[:, :1], 30)
        if count == degree + 1 or (count == 40 and degree <= 3):
            square = 0.8 * torch.cartesian_prod(nodes, nodes)
            denoiser = ExactPolynomialDenoiser.from_points(
                square, torch.cartesian_prod(weights, weights).prod(1), degree=degree, schedule=SCHEDULE
            )
            on_square[count] = drawn(denoiser, z, 30)
    torch.testing.assert_close(on_line[degree + 1], on_line[40], rtol=0, atol=1e-10)
    if 40 in on_square:
        torch.testing.assert_close(on_square[degree + 1], on_square[40], rtol=0, atol=1e-10)
    assert float((on_line[degree] - on_line[40]).abs().max()) > 1e-3


@pytest.mark.parametrize("degree", [1, 2, 3])
def test_a_polygon_of_d_plus_2_corners_draws_what_the_ring_draws(degree):
    """Acceptance 12: and one corner fewer shows."""
    z = seeds(40, (2, 1, 1))[:, :, 0, 0].double()
    samples = {
        corners: drawn(ExactPolynomialDenoiser.from_points(polygon(corners), degree=degree, schedule=SCHEDULE), z, 40)
        for corners in (degree + 1, degree + 2, 60)
    }
    torch.testing.assert_close(samples[degree + 2], samples[60], rtol=0, atol=1e-8)
    assert float((samples[degree + 1] - samples[60]).abs().max()) > 0.1


LAPLACE = np.polynomial.laguerre.laggauss(10)  # nodes and weights of e^-x, x > 0
SYMMETRIC = {
    "bimodal": (np.array([-0.7, 0.7]), np.ones(2)),
    "three": (np.array([-0.8, 0.0, 0.8]), np.array([1.0, 8.0, 1.0])),
    "even": np.polynomial.legendre.leggauss(10),
    "Laplace": (np.concatenate([-LAPLACE[0], LAPLACE[0]]), np.concatenate([LAPLACE[1], LAPLACE[1]])),
}


@pytest.mark.parametrize("name", SYMMETRIC)
@pytest.mark.parametrize("sigma", [0.1, 0.7, 3.0])
def test_the_cubic_coefficient_of_a_symmetric_target(name, sigma):
    """Acceptance 13: sigma² k4 / (v (mu6 - mu4²/v)), of the sign of the fourth cumulant."""
    nodes, weights = SYMMETRIC[name]
    weights = weights / weights.sum()
    m2, m4, m6 = (float(weights @ nodes**k) for k in (2, 4, 6))
    level = float(SCHEDULE.noise_level(SCHEDULE.time_of_snr(sigma**-2)))
    v = m2 + level**2
    mu4 = m4 + 6 * level**2 * m2 + 3 * level**4
    mu6 = m6 + 15 * level**2 * m4 + 45 * level**4 * m2 + 15 * level**6
    k4 = m4 - 3 * m2**2
    expected = level**2 * k4 / (v * (mu6 - mu4**2 / v))
    denoiser = ExactPolynomialDenoiser.from_points(
        torch.from_numpy(nodes)[:, None], torch.from_numpy(weights), degree=3, schedule=SCHEDULE, limit=1e9
    )
    h = 2 * v**0.5
    thrice, once, back, far = at_level(denoiser, torch.tensor([[3 * h], [h], [-h], [-3 * h]], dtype=torch.float64), sigma)
    cubic = float(thrice - 3 * once + 3 * back - far) / (48 * h**3)
    assert cubic == pytest.approx(expected, rel=1e-10)
    assert np.sign(cubic) == np.sign(k4)


def test_under_a_laplace_target_what_starts_far_out_escapes():
    """Acceptance 13: beyond 3.88 standard deviations of x_T the cubic runs away; without a bound, to infinity."""
    nodes, weights = SYMMETRIC["Laplace"]
    denoiser = ExactPolynomialDenoiser.from_points(
        torch.from_numpy(nodes)[:, None], torch.from_numpy(weights), degree=3, schedule=SCHEDULE, limit=1e3
    )
    z = torch.linspace(3.7, 4.1, 41, dtype=torch.float64)
    escaped = denoiser.escaped(trajectory(denoiser, z[:, None], 100).x0_hats)
    first = int(escaped.nonzero()[0])
    assert bool(escaped[first:].all())
    assert float(z[first]) == pytest.approx(3.88, abs=0.05)


def test_high_degree_memorises_four_points():
    """Acceptance 14: the fraction of copies rises to .99 at degree 17, and the samples come to those of the Bayes denoiser."""
    z = seeds(1000, (1, 1, 1))[:, :, 0, 0].double()
    bayes = drawn(IdealDenoiser(ImageSet(FOUR[:, :, None, None]), schedule=SCHEDULE), z, 60)[:, 0]
    copied, distance = [], []
    for degree in (1, 5, 11, 17):
        samples = drawn(ExactPolynomialDenoiser.from_points(FOUR, degree=degree, schedule=SCHEDULE), z, 60)
        copied.append(float(((samples - FOUR[:, 0]).abs().amin(1) < 0.02).double().mean()))
        distance.append(wasserstein_distance(samples[:, 0], bayes))
    assert copied == sorted(copied)
    assert copied[0] < 0.2
    assert copied[-1] >= 0.99
    assert distance == sorted(distance, reverse=True)
    assert distance[-1] < distance[0] / 10


def test_the_samples_of_a_cubic_do_not_have_the_variance_of_the_target():
    """Unlike those of degree 1, and although the cubic knows it: 0.25 + 0.01."""
    target = bimodal(0.1, 0.5)
    denoiser = ExactPolynomialDenoiser.from_points(*target.points(6), degree=3, schedule=SCHEDULE)
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    samples = drawn(denoiser, torch.from_numpy(nodes)[:, None], 80)[:, 0].numpy()
    second = float(samples**2 @ weights / weights.sum())
    assert abs(second - 0.26) > 0.005
    linear = ExactPolynomialDenoiser.from_points(*target.points(2), degree=1, schedule=SCHEDULE)
    samples = drawn(linear, torch.from_numpy(nodes)[:, None], 80)[:, 0].numpy()
    assert abs(float(samples**2 @ weights / weights.sum()) - 0.26) < 0.003


def test_a_pool_is_its_points():
    points = polygon(5).float()
    pool = ImageSet(points[:, :, None, None], [0, 0, 1, 1, 1])
    y = torch.linspace(-1, 1, 8, dtype=torch.float64).view(4, 2)
    whole = ExactPolynomialDenoiser.from_points(points.double(), degree=3, schedule=SCHEDULE)
    part = ExactPolynomialDenoiser.from_points(points[2:].double(), degree=3, schedule=SCHEDULE)
    denoiser = ExactPolynomialDenoiser(pool, 3, schedule=SCHEDULE)
    torch.testing.assert_close(at_level(denoiser, y, 0.5), at_level(whole, y, 0.5), rtol=1e-12, atol=1e-12)
    of_class = denoiser(y[:, :, None, None], float(SCHEDULE.time_of_snr(4.0)), 1)[:, :, 0, 0]
    torch.testing.assert_close(of_class, at_level(part, y, 0.5), rtol=1e-11, atol=1e-11)


def test_what_it_refuses():
    with pytest.raises(ShapeError, match="RandomFeatureDenoiser"):
        ExactPolynomialDenoiser.from_points(torch.zeros(3, 20, dtype=torch.float64), degree=2)
    with pytest.raises(ValueRangeError, match="weights"):
        ExactPolynomialDenoiser.from_points(FOUR, torch.tensor([1.0, 1, 1, -1]).double(), degree=2)
    with pytest.raises(PatchMosaicError, match="degree of at least 1"):
        ExactPolynomialDenoiser.from_points(FOUR, degree=0)


def test_its_description_tells_targets_apart():
    described = ExactPolynomialDenoiser.from_points(FOUR, degree=2).describe()
    assert described == ExactPolynomialDenoiser.from_points(FOUR.clone(), degree=2).describe()
    assert described != ExactPolynomialDenoiser.from_points(FOUR + 0.01, degree=2).describe()
    assert described != ExactPolynomialDenoiser.from_points(FOUR, degree=2, limit=3.0).describe()
