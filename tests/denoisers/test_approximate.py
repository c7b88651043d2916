"""Answers within a tolerance, against the float64 oracle, from pools made to break the bounds."""

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from machine_cases import MACHINES, PATCH, POSTERIOR, images, noisy, relative_errors, truth

from patchmosaic.data import load
from patchmosaic.data.imageset import ImageSet
from patchmosaic.denoisers import IdealDenoiser, WienerDenoiser
from patchmosaic.denoisers.approximate import Approximate
from patchmosaic.denoisers.costs import Cost
from patchmosaic.engine import shadows
from patchmosaic.errors import PatchMosaicError
from patchmosaic.noise import CosineSchedule, FlowMatchingSchedule
from patchmosaic.sampling import sample, seeds

COSINE = CosineSchedule()
FREE, DEAR = Cost(0.0, 1e-9), Cost(1e9, 1.0)
COARSE = {"exact": DEAR, "coarse to fine": FREE}
SUBSET = {"exact": DEAR, "subset": FREE}
BOUNDED = ("IS", "ES")  # the machines whose weights shadows bound
bounded = pytest.mark.parametrize("machine", BOUNDED)


@pytest.fixture(autouse=True)
def _small_shadows(monkeypatch):
    """Small images too have more coordinates than a shadow has numbers."""
    monkeypatch.setattr(shadows, "KEPT", 6)
    monkeypatch.setattr(shadows, "GROUPS", 3)


def adversarial(kind, seed, n=110, channels=2, height=4, width=5):
    """(pool, clean image of the query): each kind is a way to fool who looks at some images only."""
    rng = np.random.default_rng(seed)
    pool = images(seed, n, channels, height, width)
    query = pool[n // 2]
    if kind == "duplicates":
        pool = pool[torch.from_numpy(rng.integers(0, 3, n))]
    elif kind == "all the same":
        pool = pool[:1].repeat(n, 1, 1, 1)
    elif kind == "constant images":
        pool = torch.from_numpy(rng.uniform(-1, 1, (n, 1, 1, 1))).float().expand_as(pool).clone()
    elif kind == "one outlier that alone matches":
        pool = 0.05 * pool
        pool[int(rng.integers(n))] = query = torch.from_numpy(rng.choice([-1.0, 1.0], pool.shape[1:])).float()
    elif kind == "sorted by class":
        pool = torch.cat([0.1 * pool[: n // 2] + 0.8, 0.1 * pool[n // 2 :] - 0.8])
        query = pool[-1]
    elif kind == "light crowd against a heavy few":
        pool = torch.from_numpy(0.2 * rng.standard_normal(pool.shape)).float().clamp(-1, 1)
        pool[:3] = query = images(seed, 1, channels, height, width)[0]
    elif kind == "translates of one image":
        moves = [(int(a), int(b)) for a, b in rng.integers(0, 5, (n, 2))]
        pool = torch.stack([query.roll(move, (1, 2)) for move in moves])
    elif kind == "mean of nothing":
        pool = torch.cat([pool[: n // 2], -pool[: n // 2]])
        query = torch.zeros_like(query)
    elif kind == "what shadows cannot see":
        # Alternating signs carry least energy in a smooth pool: images that differ only there cast nearly the same shadow.
        rows, columns = np.mgrid[:height, :width]
        sign = torch.from_numpy((-1.0) ** (rows + columns)).float()
        pool = 0.5 * pool[:1] + 0.3 * sign * torch.from_numpy(rng.choice([-1.0, 1.0], (n, channels, 1, 1))).float()
        query = pool[0]
    return pool, query


KINDS = (
    *("smooth", "duplicates", "all the same", "constant images", "one outlier that alone matches", "sorted by class"),
    *("light crowd against a heavy few", "translates of one image", "mean of nothing", "what shadows cannot see"),
)


@settings(max_examples=150, deadline=None)
@given(
    machine=st.sampled_from(BOUNDED),
    kind=st.sampled_from(KINDS),
    seed=st.integers(0, 10**6),
    t=st.floats(0.002, 1.0),
    tolerance=st.sampled_from([1e-5, 1e-3, 0.05, 0.5]),
)
def test_a_guaranteed_bound_is_never_wrong(machine, kind, seed, t, tolerance):
    pool, query = adversarial(kind, seed)
    x_t = noisy(query[None], COSINE, t, seed)
    approximate = Approximate(MACHINES[machine].build(ImageSet(pool), 1), tolerance, costs=COARSE)
    error = float(relative_errors(approximate(x_t, t), truth(machine, x_t, pool, COSINE, t, 1))[0])
    (choice,) = approximate.last
    rounding = 1e-9 if choice.method == "coarse to fine" else 1e-7
    assert choice.guaranteed
    assert error <= choice.error * (1 + 1e-6) + rounding
    assert choice.error <= tolerance
    assert choice.images <= len(pool)


@bounded
def test_most_images_are_left_out_where_few_can_matter(machine):
    """A bound that lets everything through would pass every other test."""
    pool = images(0, 300, 1, 8, 8)
    x_t = noisy(pool[[5, 17]], COSINE, 0.05)
    approximate = Approximate(MACHINES[machine].build(ImageSet(pool), 1), 1e-3, costs=COARSE)
    errors = relative_errors(approximate(x_t, 0.05), truth(machine, x_t, pool, COSINE, 0.05, 1))
    for choice, error in zip(approximate.last, errors, strict=True):
        assert choice.method == "coarse to fine"
        assert 64 <= choice.images < 150
        assert error <= 1e-3


@bounded
@pytest.mark.parametrize("schedule", [COSINE, FlowMatchingSchedule()], ids=["cosine", "flow"])
def test_where_nothing_is_seen_every_image_counts(machine, schedule):
    """At t = 1 of flow matching alpha is 0: all weights are equal, and leaving out any image is an error."""
    pool = images(1, 90)
    x_t = noisy(pool[:2], schedule, 1.0)
    approximate = Approximate(MACHINES[machine].build(ImageSet(pool), 1, schedule=schedule), 1e-3, costs=COARSE)
    errors = relative_errors(approximate(x_t, 1.0), truth(machine, x_t, pool, schedule, 1.0, 1))
    assert errors.max() <= 1e-3
    if machine == "IS" and schedule != COSINE:
        assert [(choice.method, choice.images) for choice in approximate.last] == [("exact", 90), ("exact", 90)]


@bounded
def test_a_label_looks_at_its_class_only(machine):
    pool = images(2, 240, 1, 6, 6)
    labels = torch.arange(240) // 120
    denoiser = MACHINES[machine].build(ImageSet(pool, labels), 1)
    approximate = Approximate(denoiser, 1e-3, costs=COARSE)
    asked = torch.tensor([1, 0, 1])
    times = torch.tensor([0.05, 0.2, 0.6], dtype=torch.float64)
    x_t = noisy(pool[[3, 7, 130]], COSINE, times)
    mine = [pool[labels == label] for label in asked]
    errors = relative_errors(approximate(x_t, times, asked), truth(machine, x_t, mine, COSINE, times, 1))
    for choice, error in zip(approximate.last, errors, strict=True):
        assert error <= choice.error + 1e-9
        assert choice.images <= 120
        assert choice.error <= 1e-3


@pytest.mark.parametrize("machine", POSTERIOR)
@pytest.mark.parametrize("how", ["guaranteed", "estimated"])
def test_the_rest_of_the_batch_does_not_matter(machine, how):
    pool = ImageSet(images(3, 300), torch.arange(300) % 2)
    costs = {**COARSE, **SUBSET}
    approximate = Approximate(MACHINES[machine].build(pool, 3), 0.2, guaranteed=how == "guaranteed", costs=costs)
    times, labels = torch.tensor([0.05, 0.03, 0.9, 1.0], dtype=torch.float64), torch.tensor([0, 1, 0, 1])
    x_t = noisy(pool.images[:4], COSINE, times)
    for label in (None, labels):
        together, choices = approximate(x_t, times, label), approximate.last
        for i in range(4):
            alone = approximate(x_t[i : i + 1], times[i : i + 1], None if label is None else label[i : i + 1])
            torch.testing.assert_close(alone[0], together[i], rtol=0, atol=1e-9)
            assert approximate.last[0].method == choices[i].method
            assert approximate.last[0].images == choices[i].images


# Which way is taken.


def methods(approximate, x_t, t):
    approximate(x_t, t)
    return {choice.method for choice in approximate.last}


def test_the_cheapest_way_is_taken():
    pool = 0.5 + 0.4 * images(4, 200, 1, 8, 8)
    machine = IdealDenoiser(ImageSet(pool))
    near, far = (noisy(pool[:3], COSINE, t) for t in (0.05, 1.0))
    every = {"exact": DEAR, "coarse to fine": FREE, "subset": FREE}
    assert methods(Approximate(machine, costs={**every, "exact": FREE, "coarse to fine": DEAR}), near, 0.05) == {"exact"}
    assert methods(Approximate(machine, costs=every), near, 0.05) == {"coarse to fine"}
    assert methods(Approximate(machine, 0.4, guaranteed=False, costs=every), far, 1.0) == {"subset"}
    assert methods(Approximate(machine, 0.4, costs=every), far, 1.0) == {"exact"}  # an estimate is not what was asked for


def test_little_is_spent_on_finding_out(monkeypatch):
    """Where the first look would cost a fifth of the exact answer, it is not taken."""
    pool = images(4, 200, 1, 8, 8)
    x_t = noisy(pool[:1], COSINE, 0.05)
    for first_look, expected in [(19.0, "coarse to fine"), (21.0, "exact")]:
        costs = {"exact": Cost(100.0, 0.0), "coarse to fine": Cost(first_look, 0.0)}
        approximate = Approximate(IdealDenoiser(ImageSet(pool)), costs=costs)
        if expected == "exact":
            monkeypatch.setattr(Approximate, "_coarse_to_fine", lambda *a: pytest.fail("looked"))
        assert methods(approximate, x_t, 0.05) == {expected}


@pytest.mark.parametrize("machine", POSTERIOR)
def test_where_exact_is_taken_it_is_exact(machine):
    pool = images(5, 70)
    denoiser = MACHINES[machine].build(ImageSet(pool), 3)
    approximate = Approximate(denoiser, costs={"exact": FREE, "coarse to fine": DEAR})
    times = torch.tensor([0.05, 0.5, 1.0], dtype=torch.float64)
    x_t = noisy(pool[:3], COSINE, times, dtype=torch.float32)
    assert torch.equal(approximate(x_t, times), denoiser(x_t, times))
    assert [(choice.method, choice.images, choice.error) for choice in approximate.last] == 3 * [("exact", 70, 0.0)]


@pytest.mark.parametrize("machine", PATCH)
def test_patch_machines_promise_nothing_but_the_exact_answer(machine):
    pool = images(6, 80)
    denoiser = MACHINES[machine].build(ImageSet(pool), 3)
    approximate = Approximate(denoiser, 0.5, costs={"exact": DEAR, "coarse to fine": FREE, "subset": FREE})
    x_t = noisy(pool[:2], COSINE, 0.3)
    assert torch.equal(approximate(x_t, 0.3), denoiser(x_t, 0.3))
    assert {choice.method for choice in approximate.last} == {"exact"}


def test_a_budget_that_does_not_hold_the_shadows():
    pool = images(7, 3000, 1, 2, 2)
    machine = IdealDenoiser(ImageSet(pool), memory_budget=200_000)
    assert shadows.shadow_bytes(3000) > 200_000
    assert methods(Approximate(machine, costs=COARSE), noisy(pool[:1], COSINE, 0.05), 0.05) == {"exact"}


@bounded
def test_with_costs_measured_here_the_promise_is_the_same(machine):
    pool = images(8, 400, 1, 8, 8)
    approximate = Approximate(MACHINES[machine].build(ImageSet(pool), 1), 1e-3)
    times = torch.tensor([0.05, 0.3, 0.9], dtype=torch.float64)
    x_t = noisy(pool[:3], COSINE, times, dtype=torch.float32)
    errors = relative_errors(approximate(x_t, times), truth(machine, x_t, pool, COSINE, times, 1))
    for choice, error in zip(approximate.last, errors, strict=True):
        assert error <= choice.error + 1e-5
        assert choice.error <= 1e-3


# Estimates.


@pytest.mark.parametrize(("machine", "patch_size"), [("IS", 1), ("LS", 3), ("ELS", 3)])
def test_an_estimated_tolerance_is_nearly_always_kept(machine, patch_size):
    digits = load("digits", image_size=None)
    pool, unseen = digits.split(3, seed=2)
    pool = pool.subset(torch.arange(0, len(pool), 3))
    denoiser = MACHINES[machine].build(pool, patch_size)
    times = torch.tensor([0.8, 0.9, 1.0], dtype=torch.float64)
    x_t = noisy(unseen.images, COSINE, times)
    exact = denoiser(x_t, times).numpy()
    kept, subsets = 0, 0
    for seed in range(15):
        approximate = Approximate(denoiser, 0.15, guaranteed=False, seed=seed, costs=SUBSET)
        errors = relative_errors(approximate(x_t, times), exact)
        for choice, error in zip(approximate.last, errors, strict=True):
            assert choice.guaranteed == (choice.method == "exact")
            if choice.method == "subset":
                assert choice.images < len(pool)
                subsets += 1
                kept += error <= 0.15
    assert subsets >= 10
    assert kept >= 0.9 * subsets


def test_the_same_seed_and_costs_give_the_same_result():
    pool = ImageSet(images(9, 200))
    x_t = noisy(pool.images[:2], COSINE, 0.95)
    results = [Approximate(IdealDenoiser(pool), 0.3, guaranteed=False, seed=s, costs=SUBSET)(x_t, 0.95) for s in (1, 1, 2)]
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


# The rest of the contract.


def test_it_is_a_denoiser_like_others():
    pool = ImageSet(images(10, 100))
    machine = IdealDenoiser(pool)
    approximate = Approximate(machine, 1e-2)
    assert approximate.to("cpu") is approximate
    assert sample(approximate, seeds(2, pool.image_shape), steps=3).x0.shape == (2, *pool.image_shape)
    assert len(approximate.last) == 2
    described = json.dumps(approximate.describe())
    assert json.loads(described)["pool"] == pool.content_hash
    assert described != json.dumps(Approximate(machine, 1e-3).describe()) != json.dumps(machine.describe())


@pytest.mark.parametrize("tolerance", [0.0, 1e-6, 1.0, -1.0, math.nan])
def test_a_tolerance_must_be_possible(tolerance):
    with pytest.raises(PatchMosaicError, match="tolerance"):
        Approximate(IdealDenoiser(ImageSet(images())), tolerance)


def test_only_machines_with_a_pool_can_be_approximated():
    with pytest.raises(PatchMosaicError, match="WienerDenoiser"):
        Approximate(WienerDenoiser(ImageSet(images())))
