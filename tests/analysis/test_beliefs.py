"""Beliefs along trajectories against the oracle's candidates, and interpolation against lines."""

import json
import math

import numpy as np
import pytest
import torch

from patchmosaic.analysis import beliefs as module
from patchmosaic.analysis.beliefs import DECIDED, QUANTITIES, belief_dynamics, highest_crossing
from patchmosaic.data.imageset import ImageSet
from patchmosaic.denoisers import BoundaryBrokenDenoiser, EquivariantLocalDenoiser, IdealDenoiser, LocalDenoiser
from patchmosaic.engine import oracle
from patchmosaic.errors import PatchMosaicError
from patchmosaic.locality import LocalityScale
from patchmosaic.noise import EDMSchedule
from patchmosaic.sampling import sample, seeds

STEPS = 4
KINDS = {
    "LS": (LocalDenoiser, "local"),
    "ELS": (EquivariantLocalDenoiser, "equivariant_local"),
    "bbELS": (BoundaryBrokenDenoiser, "boundary_broken"),
}


def uniform(*shape, seed=0):
    return 2 * torch.rand(shape, generator=torch.Generator().manual_seed(seed)) - 1


@pytest.fixture(scope="module")
def pool():
    images = uniform(6, 1, 4, 4)
    images[5] = images[4]  # a pixel that sees one of these is never sure
    return ImageSet(images, [3, 7, 3, 7, 3, 7])


@pytest.fixture(scope="module")
def machines(pool):
    return {"IS": IdealDenoiser(pool)} | {name: kind(pool, 3) for name, (kind, _) in KINDS.items()}


@pytest.fixture(scope="module")
def dynamics(machines):
    return belief_dynamics(machines, 3, STEPS, batch_size=2)


def expected(machine, weights, images):
    """What is told of one pixel, from its weights over all candidates."""
    entropy = -(weights[weights > 0] * np.log(weights[weights > 0])).sum()
    by_image = np.array([weights[images == n].sum() for n in np.unique(images)])
    return [
        entropy,
        entropy / math.log(len(weights)) if len(weights) > 1 else 0.0,
        -math.log((weights**2).sum()),
        -math.log((by_image**2).sum()),
        float(entropy < math.log(2)),
        math.log(len(weights)),
    ]


@pytest.mark.parametrize("name", ["IS", "LS", "ELS", "bbELS"])
def test_beliefs_are_those_of_the_oracle_at_every_step(dynamics, machines, pool, name):
    machine = machines[name]
    drawn = sample(machine, seeds(3, pool.image_shape), STEPS)
    found = dynamics.machines[name]
    for step, t in enumerate(drawn.times.tolist()):
        alpha, sigma = (float(scale) for scale in machine.schedule(t))
        told = np.empty((3, 4, 4, len(QUANTITIES)))
        for row in range(4):
            for column in range(4):
                kind, size = ("ideal", None) if name == "IS" else (KINDS[name][1], 3)
                x_t, images = drawn.states[step].numpy(), pool.images.numpy()
                candidates = oracle.candidates(kind, x_t, images, alpha, sigma, row, column, size)
                for seed, weights in enumerate(candidates.posterior_weights):
                    told[seed, row, column] = expected(name, weights, candidates.image)
        for i, quantity in enumerate(QUANTITIES):
            np.testing.assert_allclose(found.mean[quantity][:, step], told[..., i].mean((1, 2)), rtol=1e-3, atol=1e-4)
            np.testing.assert_allclose(found.spread[quantity][:, step], told[..., i].std((1, 2)), rtol=1e-3, atol=1e-3)


def test_levels_fall_and_sizes_follow_them(pool):
    scale = LocalityScale((0.5, 5.0), (1, 3))
    found = belief_dynamics({"LS": LocalDenoiser(pool, scale), "IS": IdealDenoiser(pool)}, [4], STEPS)
    assert found.seeds == (4,)
    assert list(found.noise_levels) == sorted(found.noise_levels, reverse=True)
    assert found.machines["LS"].patch_sizes == tuple(scale(level) for level in found.noise_levels)
    assert found.machines["IS"].patch_sizes == (None,) * STEPS
    mean, spread = found.machines["IS"].over_seeds("entropy")
    torch.testing.assert_close(mean, found.machines["IS"].mean["entropy"][0])
    assert spread.tolist() == [0.0] * STEPS
    assert found.machines["IS"].spread["entropy"].abs().max() < 1e-12  # an image has one belief
    json.dumps(found.to_json(), allow_nan=False)


def test_of_twins_nobody_is_ever_sure(pool):
    twins = ImageSet(pool.images[4:])
    found = belief_dynamics({"IS": IdealDenoiser(twins)}, 2, STEPS)
    np.testing.assert_allclose(found.machines["IS"].mean["entropy"], math.log(2), rtol=1e-9)
    assert found.onset("IS") is None


def test_a_class_has_fewer_candidates(pool):
    labels = torch.tensor([3, 7])
    found = belief_dynamics({"IS": IdealDenoiser(pool)}, 2, 2, labels=labels)
    np.testing.assert_allclose(found.machines["IS"].mean["ln_candidates"], math.log(3))


def test_finished_seeds_are_not_drawn_again(pool, tmp_path, monkeypatch):
    machine = {"LS": LocalDenoiser(pool, 3)}
    first = belief_dynamics(machine, 3, 2, keep=tmp_path)
    next(tmp_path.glob("beliefs-LS-*/seed-000001.safetensors")).unlink()
    traced = []
    right = module.trace
    monkeypatch.setattr(
        module,
        "trace",
        lambda machine, x_t, *rest, **options: (traced.append(len(x_t)), right(machine, x_t, *rest, **options))[1],
    )
    assert belief_dynamics(machine, 3, 2, keep=tmp_path).to_json() == first.to_json()
    assert traced == [1, 1]


def test_the_level_at_which_half_is_reached():
    levels = (0.1, 1.0, 10.0, 100.0)
    assert highest_crossing(levels, (1.0, 0.75, 0.25, 0.0)) == pytest.approx(math.sqrt(10))  # half way, on a log scale
    assert highest_crossing(levels, (1.0, 0.5, 0.0, 1.0)) == pytest.approx(1.0)  # what decides above does not count
    assert highest_crossing(levels, (0.4, 1.0, 1.0, 1.0)) is None
    assert highest_crossing(levels, (1.0, 1.0, 1.0, 0.6)) == 100.0
    assert pytest.approx(math.log(2)) == DECIDED


def test_what_cannot_be_compared_is_refused(pool):
    with pytest.raises(PatchMosaicError, match="one schedule"):
        belief_dynamics({})
    with pytest.raises(PatchMosaicError, match="one schedule"):
        belief_dynamics({"a": IdealDenoiser(pool), "b": IdealDenoiser(pool, schedule=EDMSchedule())})
