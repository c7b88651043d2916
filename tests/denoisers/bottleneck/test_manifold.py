"""The ring law, Bayes denoisers of spheres, and projections."""

import json
import math

import numpy as np
import pytest
import torch
from scipy.special import i0e, i1e

from patchmosaic.data.imageset import ImageSet
from patchmosaic.denoisers import IdealDenoiser
from patchmosaic.denoisers.bottleneck import Flat, LinearEncoderDenoiser, ManifoldDenoiser, Sphere, SphereDenoiser
from patchmosaic.errors import ShapeError, ValueRangeError
from patchmosaic.noise import CosineSchedule, EDMSchedule, FlowMatchingSchedule
from patchmosaic.sampling import sample, seeds


@pytest.mark.parametrize("steps", [3, 40])
@pytest.mark.parametrize("schedule", [EDMSchedule(), CosineSchedule()], ids=["EDM", "cosine"])
def test_on_a_ring_the_angle_stays_and_the_radius_goes_linearly_with_the_noise(schedule, steps):
    """Acceptance 17: R + (L / L_T) (r_T - R) at every step, to 1e-10 of the radius."""
    radius = 1.3
    denoiser = ManifoldDenoiser(SphereDenoiser(2, radius, schedule=schedule), Sphere(radius))
    trajectory = sample(denoiser, seeds(50, (2, 1, 1)).double() * schedule.prior_std(), steps)
    alpha, sigma = schedule(trajectory.times)
    y = trajectory.states[:-1].squeeze((-1, -2)) / alpha[:, None, None]
    lengths, levels = y.norm(dim=2), sigma / alpha
    expected = radius + (levels / levels[0])[:, None] * (lengths[0] - radius)
    torch.testing.assert_close(lengths, expected, rtol=1e-10, atol=1e-10)
    directions = y / lengths[..., None]
    torch.testing.assert_close(directions, directions[:1].expand_as(directions), rtol=0, atol=1e-10)
    torch.testing.assert_close(trajectory.x0.squeeze((-1, -2)), radius * directions[0], rtol=0, atol=1e-10)


@pytest.mark.parametrize("level", [0.05, 0.4, 2.0, 60.0])
def test_the_ring_and_its_neighbours_in_closed_form(level):
    """tanh for two points, I1 / I0 for the ring, coth k - 1/k for the sphere."""
    schedule = EDMSchedule()
    t = schedule.time_of_snr(level**-2)
    lengths = np.array([0.02, 0.5, 1.3, 3.0])
    k = 1.3 * lengths / level**2
    closed = {1: np.tanh(k), 2: i1e(k) / i0e(k), 3: 1 / np.tanh(k) - 1 / k}
    for dimension, expected in closed.items():
        x_t = torch.zeros(4, dimension, 1, 1, dtype=torch.float64)
        x_t[:, -1, 0, 0] = torch.from_numpy(lengths)
        result = SphereDenoiser(dimension, 1.3, schedule=schedule)(x_t, t)
        np.testing.assert_allclose(result[:, -1, 0, 0], 1.3 * expected, rtol=1e-9, atol=1e-11)
        assert bool((result[:, :-1] == 0).all())


def test_the_bayes_denoiser_of_a_ring_is_that_of_many_points_on_it():
    angles = torch.arange(400) * (2 * math.pi / 400)
    pool = ImageSet(0.8 * torch.stack([angles.cos(), angles.sin()], 1)[:, :, None, None])
    x_t = torch.randn(20, 2, 1, 1, generator=torch.Generator().manual_seed(0)).double()
    for t in (0.3, 0.6, 0.95):
        torch.testing.assert_close(SphereDenoiser(2, 0.8)(x_t, t), IdealDenoiser(pool)(x_t, t), rtol=0, atol=1e-6)


@pytest.mark.parametrize("dimension", [1, 2, 50])
def test_where_nothing_is_seen_the_answer_is_the_centre(dimension):
    x_t = torch.ones(2, dimension, 1, 1, dtype=torch.float64)
    assert bool((SphereDenoiser(dimension, schedule=FlowMatchingSchedule())(x_t, 1.0) == 0).all())
    assert bool((SphereDenoiser(dimension)(0 * x_t, 0.5) == 0).all())


def test_projections_are_the_nearest_points():
    """Against many points of each manifold; and what is projected stays."""
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(30, 3, generator=generator).double()
    directions = torch.randn(20000, 3, generator=generator).double()
    axes = torch.linalg.qr(torch.randn(3, 2, generator=generator).double()).Q
    flat = Flat(torch.tensor([0.3, -0.2, 0.5]).double(), axes)
    grid = torch.cartesian_prod(torch.linspace(-4, 4, 161), torch.linspace(-4, 4, 161)).double()
    clouds = [
        (Sphere(0.7), 0.7 * directions / directions.norm(dim=1, keepdim=True), 0.02),
        (flat, flat.origin + grid @ axes.T, 0.02),
    ]
    for manifold, cloud, spacing in clouds:
        projected = manifold.project(points)
        nearest = torch.cdist(points, cloud).amin(1)
        distance = (projected - points).norm(dim=1)
        assert bool((distance <= nearest + 1e-12).all())
        assert bool((distance >= nearest - spacing).all())
        torch.testing.assert_close(manifold.project(projected), projected, rtol=0, atol=1e-12)


def test_a_sphere_has_a_nearest_point_to_its_centre_too():
    assert Sphere(2.0).project(torch.zeros(1, 3).double()).tolist() == [[2.0, 0.0, 0.0]]


def test_a_flat_through_the_mean_is_a_linear_decoder():
    """Of a Gaussian-like pool seen through principal axes it loses what is orthogonal to them, and nothing else."""
    pool = ImageSet(torch.rand(40, 1, 2, 2, generator=torch.Generator().manual_seed(0)) * 2 - 1)
    axes = LinearEncoderDenoiser(pool, 2).axes
    mean = pool.images.double().mean(0).flatten()
    x_t = torch.randn(5, 1, 2, 2, generator=torch.Generator().manual_seed(1)).double()
    inner = IdealDenoiser(pool)
    result = ManifoldDenoiser(inner, Flat(mean, axes))(x_t, 0.4).flatten(1)
    torch.testing.assert_close(result @ axes, inner(x_t, 0.4).flatten(1) @ axes, rtol=0, atol=1e-12)
    assert ((result - mean) - (result - mean) @ axes @ axes.T).abs().max() < 1e-12


def test_descriptions_are_json():
    flat = Flat(torch.zeros(2).double(), torch.eye(2).double()[:, :1])
    for manifold in (Sphere(2.0), flat):
        described = ManifoldDenoiser(SphereDenoiser(2), manifold).describe()
        assert json.loads(json.dumps(described)) == described
        assert described["manifold"]["manifold"] == type(manifold).__name__


def test_bad_manifolds_are_refused():
    with pytest.raises(ValueRangeError):
        Sphere(0.0)
    with pytest.raises(ShapeError):
        SphereDenoiser(0)
    with pytest.raises(ShapeError, match="orthonormal"):
        Flat(torch.zeros(2).double(), torch.ones(2, 1).double())
