"""What the theory proves of the machines: limits, equalities and symmetries. No oracle is needed on the right-hand side."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from machine_cases import MACHINES, PATCH, POSTERIOR, images, noisy

from patchmosaic.data.imageset import ImageSet
from patchmosaic.denoisers import (
    BoundaryBrokenDenoiser,
    EquivariantDenoiser,
    EquivariantLocalDenoiser,
    IdealDenoiser,
    LocalDenoiser,
)
from patchmosaic.noise import CosineSchedule, EDMSchedule
from patchmosaic.sampling import sample, seeds

TIMES = torch.tensor([0.02, 0.2, 0.5, 0.9, 1.0], dtype=torch.float64)
SIDES = pytest.mark.parametrize(("height", "width"), [(5, 5), (3, 6), (1, 4)])


def question(height=5, width=5, seed=0):
    pool = images(seed, n=5, height=height, width=width)
    return ImageSet(pool), noisy(pool, CosineSchedule(), TIMES, seed)


def same(left, right, x_t, times=TIMES):
    torch.testing.assert_close(left(x_t, times), right(x_t, times), rtol=1e-9, atol=1e-9)


@SIDES
def test_a_window_that_covers_the_image_makes_local_ideal(height, width):
    pool, x_t = question(height, width)
    covering = 2 * max(height, width) - 1  # from a corner to the opposite one
    same(LocalDenoiser(pool, covering), IdealDenoiser(pool), x_t)
    same(LocalDenoiser(pool, covering + 20), IdealDenoiser(pool), x_t)
    if covering > 1:
        smaller = LocalDenoiser(pool, covering - 2)(x_t, TIMES)
        assert (smaller - IdealDenoiser(pool)(x_t, TIMES)).abs().max() > 1e-6


@SIDES
def test_without_an_interior_boundary_broken_is_local(height, width):
    pool, x_t = question(height, width)
    for patch_size in (max(height, width) | 1, (max(height, width) | 1) + 2, 41):
        same(BoundaryBrokenDenoiser(pool, patch_size), LocalDenoiser(pool, patch_size), x_t)


@SIDES
def test_a_window_that_covers_the_torus_makes_equivariant_local_equivariant(height, width):
    pool, x_t = question(height, width)
    for patch_size in (max(height, width) | 1, (max(height, width) | 1) + 2, 41):
        same(EquivariantLocalDenoiser(pool, patch_size), EquivariantDenoiser(pool), x_t)


def test_of_one_pixel_all_patch_machines_with_free_positions_are_one():
    pool, x_t = question()
    reference = EquivariantLocalDenoiser(pool, 1)
    same(BoundaryBrokenDenoiser(pool, 1), reference, x_t)
    same(EquivariantLocalDenoiser(pool, 1, training_padding="valid"), reference, x_t)


@pytest.mark.parametrize("machine", ["ES", "ELS", "ELS-valid"])
@settings(max_examples=8, deadline=None)
@given(down=st.integers(-6, 6), right=st.integers(-6, 6), seed=st.integers(0, 1000), patch_size=st.sampled_from([1, 3, 5]))
def test_equivariant_machines_commute_with_circular_shifts(machine, down, right, seed, patch_size):
    pool, x_t = question(seed=seed)
    denoiser = MACHINES[machine].build(pool, patch_size)
    rolled = denoiser(x_t.roll((down, right), (2, 3)), TIMES)
    torch.testing.assert_close(rolled, denoiser(x_t, TIMES).roll((down, right), (2, 3)), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("machine", ["IS", "Wiener", "LS", "bbELS"])
def test_the_others_know_where_they_are(machine):
    pool, x_t = question()
    denoiser = MACHINES[machine].build(pool, 3)
    rolled = denoiser(x_t.roll(1, 3), TIMES)
    assert (rolled - denoiser(x_t, TIMES).roll(1, 3)).abs().max() > 0.05


def test_boundary_broken_is_equivariant_away_from_the_border():
    """A 3 x 3 window two pixels from the border sees and matches the same after a shift by one."""
    pool, x_t = question(7, 7)
    denoiser = BoundaryBrokenDenoiser(pool, 3)
    before, after = denoiser(x_t, TIMES), denoiser(x_t.roll(1, 3), TIMES)
    torch.testing.assert_close(after[:, :, 1:-1, 2:-1], before[:, :, 1:-1, 1:-2], rtol=1e-9, atol=1e-9)


def windows(pictures, patch_size, mode):
    """(N, H, W, C P P) windows round each pixel; `mode` is np.pad's."""
    r = patch_size // 2
    padded = np.pad(pictures, ((0, 0), (0, 0), (r, r), (r, r)), mode=mode)
    views = np.lib.stride_tricks.sliding_window_view(padded, (patch_size, patch_size), axis=(2, 3))
    return np.moveaxis(views, 1, 3).reshape(len(pictures), *pictures.shape[2:], -1)


@pytest.mark.parametrize("patch_size", [3, 5])
def test_without_noise_each_pixel_is_the_centre_of_the_nearest_patch(patch_size):
    pool = images(n=4, height=6, width=6).double().numpy()
    x = images(seed=1, n=2, height=6, width=6).double().numpy()
    schedule, t = EDMSchedule(sigma_min=1e-5), 1e-9
    r, side = patch_size // 2, 6

    def nearest(mode, candidates):
        """The centre of the best candidate (n, row, column), out of those that `candidates(row, column)` allows."""
        ours, theirs = windows(x, patch_size, mode), windows(pool, patch_size, mode)
        answer = np.empty_like(x)
        for b, row, column in np.ndindex(len(x), side, side):
            allowed = candidates(row, column)
            distances = [((ours[b, row, column] - theirs[q]) ** 2).sum() for q in allowed]
            n, q_row, q_column = allowed[int(np.argmin(distances))]
            answer[b, :, row, column] = pool[n, :, q_row, q_column]
        return torch.from_numpy(answer)

    def free(i):
        return range(r, side - r) if r <= i < side - r else [i]

    every = [(n, row, column) for n in range(4) for row in range(side) for column in range(side)]
    expected = {
        "ELS": nearest("wrap", lambda row, column: every),
        "LS": nearest("constant", lambda row, column: [(n, row, column) for n in range(4)]),
        "bbELS": nearest("constant", lambda i, j: [(n, p, q) for n in range(4) for p in free(i) for q in free(j)]),
    }
    for name, answer in expected.items():
        denoiser = MACHINES[name].build(ImageSet(torch.from_numpy(pool)), patch_size, schedule=schedule)
        torch.testing.assert_close(denoiser(torch.from_numpy(x), t), answer, rtol=0, atol=1e-6)
    assert (expected["ELS"] - expected["LS"]).abs().max() > 0.1


@pytest.mark.parametrize("machine", MACHINES)
def test_in_boundless_noise_nothing_of_x_t_is_left(machine):
    pool, x_t = question()
    denoiser = MACHINES[machine].build(pool, 3, schedule=EDMSchedule(sigma_max=1e7))
    torch.testing.assert_close(denoiser(x_t, 1.0), denoiser(-3 * x_t, 1.0), rtol=0, atol=1e-5)
    if machine in ("IS", "LS", "Wiener"):
        mean = pool.images.double().mean(0).expand_as(x_t)
    elif machine in ("ES", "ELS"):
        mean = pool.images.double().mean((0, 2, 3))[:, None, None].expand_as(x_t)
    else:
        return
    torch.testing.assert_close(denoiser(x_t, 1.0), mean, rtol=0, atol=1e-5)


@pytest.mark.parametrize("machine", POSTERIOR)
def test_a_posterior_mean_lies_between_the_extremes_of_the_pool(machine):
    pool, x_t = question()
    x0_hat = MACHINES[machine].build(pool, 3)(5 * x_t, TIMES)
    assert x0_hat.max() <= pool.images.double().max() + 1e-9
    assert x0_hat.min() >= pool.images.double().min() - 1e-9


@pytest.mark.parametrize("machine", [*PATCH, "IS", "ES"])
def test_a_negated_pool_negates_the_answer(machine):
    pool, x_t = question()
    negated = ImageSet(-pool.images)
    left = MACHINES[machine].build(negated, 3)(-x_t, TIMES)
    torch.testing.assert_close(left, -MACHINES[machine].build(pool, 3)(x_t, TIMES), rtol=1e-10, atol=1e-10)


def neighbourhood(pictures):
    """The sum over each pixel's 3 x 3 neighbourhood on the torus."""
    return sum(pictures.roll((down, right), (2, 3)) for down in (-1, 0, 1) for right in (-1, 0, 1))


def test_black_and_white_images_make_mosaics_of_local_majorities():
    """Kamb & Ganguli's toy: black or white everywhere, and every pixel what most of its 3 x 3 neighbourhood is.

    Each pixel that turns turns its neighbours only when the noise has halved again, so the noise must fall very far for the
    last one to settle: with the cosine some never do, in a thousand steps. Hence this schedule.
    """
    pool = ImageSet(torch.tensor([-1.0, 1.0])[:, None, None, None].expand(2, 1, 12, 12).clone())
    schedule = EDMSchedule(sigma_min=1e-9, sigma_max=80.0, rho=40.0)
    denoiser = EquivariantLocalDenoiser(pool, 3, schedule=schedule)
    trajectory = sample(denoiser, seeds(8, pool.image_shape).double() * schedule.prior_std(), steps=40)
    # Two patches, all -1 and all +1: the posterior mean is a hyperbolic tangent.
    for t, x_t, x0_hat in zip(trajectory.times, trajectory.states[:-1], trajectory.x0_hats, strict=True):
        expected = torch.tanh(neighbourhood(x_t) / schedule(t)[1] ** 2)
        torch.testing.assert_close(x0_hat, expected, rtol=0, atol=1e-9)
    drawn = trajectory.x0
    torch.testing.assert_close(drawn.abs(), torch.ones_like(drawn), rtol=0, atol=1e-9)
    assert torch.equal(neighbourhood(drawn).sign(), drawn.sign())
    assert sum(len(picture.sign().unique()) == 2 for picture in drawn) >= 4  # mosaics, not training images


def test_the_ideal_machine_draws_training_images():
    pool = ImageSet(images(n=20, channels=1, height=6, width=6))
    drawn = sample(IdealDenoiser(pool), seeds(12, pool.image_shape), steps=30).x0
    distances = (drawn[:, None] - pool.images).square().mean((2, 3, 4)).sqrt()
    assert distances.amin(1).max() < 1e-3
    assert len(distances.argmin(1).unique()) > 3  # of several, not of one
