"""Every machine against the float64 brute force of `engine/oracle.py`, in every setting that could break it."""

import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from machine_cases import MACHINES, PATCH, POSTERIOR, images, labelled, noisy, relative_errors, truth

from patchmosaic.data.imageset import ImageSet
from patchmosaic.errors import MemoryBudgetError
from patchmosaic.locality import LocalityScale
from patchmosaic.noise import CosineSchedule, EDMSchedule, FlowMatchingSchedule
from schedule_cases import EVERY

COSINE = CosineSchedule()
TIMES = torch.tensor([0.02, 0.05, 0.2, 0.5, 0.9, 1.0], dtype=torch.float64)
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}
every_machine = pytest.mark.parametrize("machine", MACHINES)
precision = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])


def check(machine, pool, x_t, schedule, t, patch_size, **options):
    """Denoise and compare every sample with the oracle."""
    denoiser = MACHINES[machine].build(ImageSet(pool), patch_size, schedule=schedule, **options)
    result = denoiser(x_t, t)
    assert result.dtype == x_t.dtype
    errors = relative_errors(result, truth(machine, x_t, pool, schedule, t, patch_size))
    assert errors.max() <= TOLERANCE[x_t.dtype], errors


@precision
@pytest.mark.parametrize(
    "shape",
    [{"channels": 1, "height": 6, "width": 6}, {"channels": 3, "height": 4, "width": 5}, {"height": 1, "width": 6}],
    ids=["1x6x6", "3x4x5", "2x1x6"],
)
@pytest.mark.parametrize(
    ("machine", "patch_size"),
    [
        *((name, 1) for name in MACHINES if name not in PATCH),
        *((name, size) for name in PATCH for size in (1, 3, 5, 13) if name != "ELS-valid" or size <= 3),
    ],
)
def test_at_every_noise_level_and_patch_size(machine, patch_size, shape, dtype):
    if machine == "ELS-valid" and patch_size > shape["height"]:
        patch_size = 1
    pool = images(seed=patch_size, n=5, **shape)
    x0 = torch.cat([pool[:3], images(seed=99, n=3, **shape)])  # seen and unseen images
    check(machine, pool, noisy(x0, COSINE, TIMES, dtype=dtype), COSINE, TIMES, patch_size)


@precision
@every_machine
@pytest.mark.parametrize("schedule", EVERY, ids=lambda schedule: type(schedule).__name__)
def test_on_every_schedule(machine, schedule, dtype):
    pool, times = images(n=4), torch.tensor([0.1, 0.4, 0.99, 1.0], dtype=torch.float64)
    check(machine, pool, noisy(pool, schedule, times, dtype=dtype), schedule, times, 3)


@every_machine
def test_a_python_number_for_t_is_not_rounded(machine):
    pool = images(n=3)
    for t in (0.05, 0.1, 0.7):
        check(machine, pool, noisy(pool[:1], COSINE, t), COSINE, t, 3)


@every_machine
def test_where_nothing_is_seen_the_answer_is_the_mean(machine):
    """Flow matching at t = 1 has alpha = 0: x_t says nothing."""
    pool = images(n=4)
    denoiser = MACHINES[machine].build(ImageSet(pool), 3, schedule=FlowMatchingSchedule())
    results = denoiser(torch.randn(2, 2, 6, 5), 1.0).double()
    mean = pool.double().mean(0)
    inside = mean[:, 1:-1, 1:-1].mean((1, 2), keepdim=True)
    if machine in ("ES", "ELS"):
        expected = mean.mean((1, 2), keepdim=True).expand_as(mean)
    elif machine == "ELS-valid":
        expected = inside.expand_as(mean)
    elif machine == "bbELS":
        expected = mean.clone()
        expected[:, 1:-1, 1:-1] = inside
        expected[:, 0, 1:-1], expected[:, -1, 1:-1] = (mean[:, row, 1:-1].mean(1, keepdim=True) for row in (0, -1))
        expected[:, 1:-1, 0], expected[:, 1:-1, -1] = (mean[:, 1:-1, column].mean(1, keepdim=True) for column in (0, -1))
    else:
        expected = mean
    for result in results:
        torch.testing.assert_close(result, expected, rtol=0, atol=1e-6)


@precision
@every_machine
@pytest.mark.parametrize("kind", ["one image", "duplicates", "constant images", "one constant image", "prime number of images"])
def test_awkward_pools(machine, kind, dtype):
    pool = {
        "one image": images(n=1),
        "duplicates": images(n=3)[[0, 1, 0, 2, 0, 1]],
        "constant images": torch.tensor([-1.0, -0.25, 0.5])[:, None, None, None].expand(3, 2, 6, 5).clone(),
        "one constant image": torch.full((1, 2, 6, 5), 0.3),
        "prime number of images": images(n=13, height=4),
    }[kind]
    times = torch.tensor([0.02, 0.3, 0.9], dtype=torch.float64)
    x0 = images(seed=5, n=3, height=pool.shape[2])
    check(machine, pool, noisy(x0, COSINE, times, dtype=dtype), COSINE, times, 3)


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_random_questions(data):
    machine = data.draw(st.sampled_from(list(MACHINES)))
    height, width = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 5))
    largest = min(height, width) if machine == "ELS-valid" else 11
    patch_size = data.draw(st.sampled_from(range(1, largest + 1, 2)))
    shape = {"n": data.draw(st.integers(1, 6)), "channels": data.draw(st.integers(1, 3)), "height": height, "width": width}
    pool = images(seed=data.draw(st.integers(0, 1000)), **shape)
    times = torch.tensor(data.draw(st.lists(st.floats(0.01, 1), min_size=1, max_size=3)), dtype=torch.float64)
    schedule = data.draw(st.sampled_from([COSINE, EDMSchedule(), FlowMatchingSchedule()]))
    x0 = pool[torch.arange(len(times)) % len(pool)]
    check(machine, pool, noisy(x0, schedule, times, dtype=torch.float32), schedule, times, patch_size)


@every_machine
def test_near_ties_are_decided_by_the_numbers_given(machine):
    """x_t halfway between two unlike images: rounding x_t / alpha_t to float32 alone would move the weights by 1e-4."""
    pool = images(seed=3, n=2, channels=3, height=6, width=6)
    for t in (0.005, 0.02):
        alpha, sigma = COSINE(torch.tensor(t, dtype=torch.float64))
        lean = (
            torch.tensor([-0.4, 0.0, 0.4]).view(3, 1, 1, 1) * sigma**2 * (pool[0] - pool[1]) / (pool[0] - pool[1]).norm() ** 2
        )
        x_t = (alpha * pool.double().mean(0) + lean).float()
        check(machine, pool, x_t, COSINE, t, 13 if machine != "ELS-valid" else 5)


@every_machine
def test_far_from_the_pool_the_answer_stays_finite_and_right(machine):
    pool = images(n=3)
    for x_t, t in [(30 * noisy(pool, COSINE, 0.1), 0.1), (noisy(pool, COSINE, 1e-6), 1e-6)]:
        check(machine, pool, x_t.float(), COSINE, t, 3)
    denoiser = MACHINES[machine].build(ImageSet(pool), 3)
    if machine != "Wiener":
        assert bool((denoiser(torch.full((1, 2, 6, 5), 1e20), 0.5).abs() <= 1).all())
        assert bool((denoiser(pool, 1e-20).abs() <= 1).all())


# Conditioning.


@precision
@every_machine
def test_labels_restrict_the_pool(machine, dtype):
    pool = labelled()
    labels = torch.tensor([7, 3, 7, 3])
    times = torch.tensor([0.1, 0.3, 0.6, 0.95], dtype=torch.float64)
    x_t = noisy(pool.images[:4], COSINE, times, dtype=dtype)
    of_class = {label: pool.images[pool.labels == label] for label in (3, 7)}
    denoiser = MACHINES[machine].build(pool, 3)
    expected = truth(machine, x_t, [of_class[label] for label in labels.tolist()], COSINE, times, 3)
    assert relative_errors(denoiser(x_t, times, labels), expected).max() <= TOLERANCE[dtype]
    everyone = truth(machine, x_t, pool.images, COSINE, times, 3)
    assert relative_errors(denoiser(x_t, times), everyone).max() <= TOLERANCE[dtype]
    assert relative_errors(torch.from_numpy(everyone), expected).max() > 0.01  # else the test shows nothing
    one_for_all = truth(machine, x_t, of_class[3], COSINE, times, 3)
    assert relative_errors(denoiser(x_t, times, 3), one_for_all).max() <= TOLERANCE[dtype]


@pytest.mark.parametrize("machine", PATCH)
def test_each_sample_takes_the_patch_size_of_its_own_noise(machine):
    pool = images(n=4, height=6, width=6)
    times = torch.tensor([0.9, 0.05, 0.5, 0.06, 0.85], dtype=torch.float64)
    scale = LocalityScale((0.08, 1.0, 8.0), (1, 3, 5))  # noise levels of t = .05, .5, .92
    x_t = noisy(pool[[0, 1, 2, 3, 0]], COSINE, times)
    expected = truth(machine, x_t, pool, COSINE, times, [5, 1, 3, 1, 5])
    result = MACHINES[machine].build(ImageSet(pool), scale)(x_t, times)
    assert relative_errors(result, expected).max() < 1e-10


@precision
@pytest.mark.parametrize("machine", PATCH)
def test_many_patch_sizes_at_once(machine, dtype):
    pool = labelled(height=5, width=6)
    sizes = [5, 1, 3] if machine == "ELS-valid" else [3, 7, 1, 3, 13]
    times, labels = torch.tensor([0.05, 0.5, 0.9], dtype=torch.float64), torch.tensor([3, 7, 3])
    x_t = noisy(pool.images[:3], COSINE, times, dtype=dtype)
    mine = [pool.images[pool.labels == label] for label in labels]
    denoiser = MACHINES[machine].build(pool, 3)
    for size, result in zip(sizes, denoiser.at_patch_sizes(x_t, times, sizes, labels), strict=True):
        assert relative_errors(result, truth(machine, x_t, mine, COSINE, times, size)).max() <= TOLERANCE[dtype]


# What must not matter.


def answers(machine, pool, x_t, times, patch_size=3, **options):
    return np.asarray(MACHINES[machine].build(ImageSet(pool), patch_size, **options)(x_t, times).double())


def assert_agree(result, reference):
    """Two answers of float32, each of which may be off by the tolerance of a whole image, and a pixel by more."""
    difference = np.abs(result - reference)
    error, size = (np.linalg.norm(each.reshape(len(each), -1), axis=1) for each in (difference, reference))
    assert (error <= 2 * TOLERANCE[torch.float32] * size).all()
    assert difference.max() <= 1e-4


@every_machine
@settings(max_examples=5, deadline=None)
@given(order=st.permutations(range(7)), seed=st.integers(0, 100))
def test_neither_the_order_of_the_pool_nor_its_repetition_matters(machine, order, seed):
    pool = images(seed, n=7)
    times = torch.tensor([0.03, 0.4, 1.0], dtype=torch.float64)
    x_t = noisy(pool[:3], COSINE, times, dtype=torch.float32)
    reference = answers(machine, pool, x_t, times)
    assert_agree(answers(machine, pool[order], x_t, times), reference)
    assert_agree(answers(machine, torch.cat([pool, pool, pool[order]]), x_t, times), reference)


@every_machine
@settings(max_examples=5, deadline=None)
@given(order=st.permutations(range(4)), seed=st.integers(0, 100))
def test_the_rest_of_the_batch_does_not_matter(machine, order, seed):
    pool = images(seed, n=5)
    times = torch.tensor([0.03, 0.2, 0.4, 1.0], dtype=torch.float64)
    x_t = noisy(pool[:4], COSINE, times, seed, dtype=torch.float32)
    together = answers(machine, pool, x_t, times)
    alone = np.concatenate([answers(machine, pool, x_t[i : i + 1], times[i : i + 1]) for i in range(4)])
    assert_agree(alone, together)
    assert_agree(answers(machine, pool, x_t[order], times[order]), together[order])


def hinted_budget(call):
    with pytest.raises(MemoryBudgetError) as caught:
        call(1)
    return int(re.search(r"at least ([\d,]+) bytes", str(caught.value))[1].replace(",", ""))


@pytest.mark.parametrize("machine", POSTERIOR)
@pytest.mark.parametrize("tie", [False, True])
def test_the_smallest_budget_gives_the_same_answer(machine, tie):
    """The budget named in the error works, whether or not a second pass in float64 is needed, and changes nothing."""
    pool = images(n=5)
    times = torch.tensor([0.02, 0.2, 0.5, 0.9], dtype=torch.float64)
    x_t = noisy(pool[:4], COSINE, times, dtype=torch.float32)
    if tie:
        x_t[0] = COSINE(times[0])[0] * pool[:2].mean(0)

    def call(budget):
        return answers(machine, pool, x_t, times, memory_budget=budget)

    least = hinted_budget(call)
    reference = call(2**30)
    for budget in (least, least + 1, 2 * least + 100, 7 * least):
        assert_agree(call(budget), reference)
    with pytest.raises(MemoryBudgetError):
        call(least - 1)


@every_machine
@precision
def test_asking_changes_nothing(machine, dtype):
    pool = images(n=3)
    denoiser = MACHINES[machine].build(ImageSet(pool), 3)
    x_t = noisy(pool, COSINE, 0.4, dtype=dtype)
    before, first = x_t.clone(), denoiser(x_t, 0.4)
    denoiser(-x_t, 0.9)
    assert torch.equal(x_t, before)
    assert torch.equal(denoiser(x_t, 0.4), first)
    assert torch.equal(denoiser.pool.images, pool)
