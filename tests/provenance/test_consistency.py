"""Locally consistent pixels: the toy against a majority vote, every local machine against the oracle's candidates."""

import numpy as np
import pytest
import torch

import patchmosaic as pm
from patchmosaic.engine import oracle
from patchmosaic.errors import CheckpointError, PatchMosaicError
from patchmosaic.provenance.consistency import HALF_STEP, Consistency, consistency, consistent

ORACLES = {"LS": "local", "ELS": "equivariant_local", "bbELS": "boundary_broken"}
DEEP = pm.noise.EDMSchedule(sigma_min=1e-9, sigma_max=80.0, rho=40.0)


def black_and_white(side=6, schedule=None):
    pool = pm.ImageSet(torch.stack([torch.full((1, side, side), value) for value in (-1.0, 1.0)]))
    return pm.EquivariantLocalDenoiser(pool, patch_size=3, schedule=schedule)


def majority(images):
    """The sign of the sum over each 3x3 window of a torus, by rolling: the nearer of an all-black and an all-white patch."""
    array = images.double().numpy()
    shifts = [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1)]
    return np.sign(sum(np.roll(array, shift, (2, 3)) for shift in shifts))


def test_in_the_toy_consistent_pixels_are_those_of_the_majority():
    images = torch.randn((5, 1, 6, 6), generator=torch.Generator().manual_seed(0)).sign()
    found = consistent(black_and_white(), images)
    np.testing.assert_array_equal(found.numpy(), (images.numpy() == majority(images))[:, 0])
    assert 0.2 < float(found.double().mean()) < 0.9


def test_the_tolerance_is_a_distance_from_the_centre():
    images = torch.full((1, 1, 6, 6), 1 - 0.9 * HALF_STEP)
    images[0, 0, 2, 3] = 1 - 1.1 * HALF_STEP
    found = consistent(black_and_white(), images)
    assert (~found).nonzero().tolist() == [[0, 2, 3]]
    assert bool(consistent(black_and_white(), images, tolerance=0.01).all())
    assert not bool(consistent(black_and_white(), images, tolerance=0.001).any())


def nearest_centres(name, image, pool, patch_size):
    """The centre of the nearest admissible patch of each pixel, (C, H, W), by brute force."""
    channels, height, width = image.shape
    centres = np.empty((channels, height, width))
    for row in range(height):
        for column in range(width):
            found = oracle.candidates(ORACLES[name], image[None].numpy(), pool.numpy(), 1.0, 1.0, row, column, patch_size)
            centres[:, row, column] = found.values[found.log_weights[0].argmax()]
    return centres


@pytest.mark.parametrize("name", ORACLES)
def test_it_is_the_nearest_admissible_patch(name):
    """Images in which every other pixel is set to what brute force says it should be, and the others are off by a little."""
    rng = np.random.default_rng(1)
    pool = torch.from_numpy(rng.uniform(-1, 1, (4, 2, 5, 6))).float()
    image = pool[0] + 0.2 * torch.from_numpy(rng.standard_normal((2, 5, 6))).float()
    expected = nearest_centres(name, image, pool, 3)
    for row, column in [(0, 0), (1, 3), (4, 2)]:
        right = image.clone()
        right[:, row, column] = torch.from_numpy(expected[:, row, column])
        again = nearest_centres(name, right, pool, 3)
        equal = (np.abs(right.numpy() - again) <= HALF_STEP).all(0)
        found = consistent(pm.denoisers.MACHINES[name](pm.ImageSet(pool), 3), right[None])
        np.testing.assert_array_equal(found[0].numpy(), equal)
        assert equal.any()


def test_a_scale_is_taken_at_its_smallest_and_a_class_is_kept_to():
    rng = np.random.default_rng(2)
    images = torch.from_numpy(rng.uniform(-1, 1, (6, 1, 6, 6))).float()
    pool = pm.ImageSet(images, [0, 1, 0, 1, 0, 1])
    shrinking = pm.LocalDenoiser(pool, pm.LocalityScale((0.1, 1.0), (3, 5)))
    x = images[:1] + 0.4 * torch.from_numpy(rng.standard_normal((1, 1, 6, 6))).float()
    for label in (0, 1):
        expected = np.abs(x[0].numpy() - nearest_centres("LS", x[0], images[label::2], 3)) < 0.2
        np.testing.assert_array_equal(consistent(shrinking, x, label, tolerance=0.2).numpy(), expected)


def test_of_equally_near_patches_any_will_do():
    """Both pixels see (0, 0), as far from (0, 1/2) as from (1/2, 0): one has the centre of the left, one of the right."""
    pool = pm.ImageSet(torch.tensor([[[[0.0, 0.5]]], [[[0.5, 0.0]]]]))
    machine = pm.LocalDenoiser(pool, 3)
    assert consistent(machine, torch.zeros(1, 1, 1, 2)).tolist() == [[[True, True]]]
    assert consistent(machine, torch.zeros(1, 1, 1, 2), ties=1).tolist() == [[[True, False]]]


def test_a_deep_enough_trajectory_of_the_toy_is_consistent():
    """Theorem 4.1 where its condition holds: noise that falls by orders of magnitude, until every pixel has settled."""
    few, many = consistency(black_and_white(schedule=DEEP), 6, (3, 40), name="ELS").shares
    assert bool((many == 1).all())
    assert float(few.min()) < 0.9


def test_shares_are_those_of_what_the_seeds_draw():
    machine = black_and_white()
    study = consistency(machine, [2, 5], (7, 4, 7), name="ELS", tolerance=0.1)
    assert study.steps == (4, 7)
    assert study.noise_levels == pytest.approx([float(machine.schedule.noise_level(1 / n)) for n in (4, 7)])
    for steps, shares in zip(study.steps, study.shares, strict=True):
        drawn = pm.sample(machine, pm.seeds([2, 5], machine.image_shape), steps).x0
        expected = (np.abs(drawn.numpy() - majority(drawn)) <= 0.1).mean((1, 2, 3))
        np.testing.assert_allclose(shares.numpy(), expected)
    assert study.mean == pytest.approx(study.shares.mean(1).tolist())


def test_finished_seeds_are_not_drawn_again(tmp_path):
    calls = []
    machine = black_and_white()

    class Counted(type(machine)):
        def _denoise(self, x_t, t, label):
            calls.append(len(x_t))
            return super()._denoise(x_t, t, label)

    machine.__class__ = Counted
    first = consistency(machine, 3, (2, 5), name="ELS", keep=tmp_path)
    drawn = sum(calls)
    assert drawn == 3 * (2 + 5)
    again = consistency(machine, 4, (2, 5), name="ELS", keep=tmp_path)
    assert sum(calls) == drawn + 2 + 5  # the fourth seed only
    assert torch.equal(again.shares[:, :3], first.shares)


def test_each_seed_has_its_class():
    pool = pm.data.load("digits", image_size=None, limit=60)
    machine = pm.LocalDenoiser(pool, 5)
    study = consistency(machine, 3, (6,), name="LS")
    labels = pm.sampling.seed_labels(3, pool.classes)
    drawn = pm.sample(machine, pm.seeds(3, pool.image_shape), 6, labels).x0
    expected = consistent(machine, drawn, labels).double().mean((1, 2))
    torch.testing.assert_close(study.shares[0], expected)


def test_a_study_survives_json():
    study = Consistency("LS", (0, 3), (5, 10), (0.2, 0.1), HALF_STEP, torch.tensor([[0.1, 0.2], [0.5, 0.75]]).double())
    again = Consistency.from_json(study.to_json())
    assert again.to_json() == study.to_json()
    assert again.steps == (5, 10)
    with pytest.raises(CheckpointError, match="not a study"):
        Consistency.from_json({"machine": "LS"})
    with pytest.raises(PatchMosaicError, match="a number of steps"):
        consistency(black_and_white(), 1, (), name="ELS")
