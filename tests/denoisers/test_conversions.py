"""x0, eps, score and v are four names of one prediction; and what a denoiser refuses."""

import inspect
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from machine_cases import MACHINES, images, labelled, noisy

from patchmosaic.data.imageset import ImageSet
from patchmosaic.denoisers import EquivariantLocalDenoiser, IdealDenoiser, LocalDenoiser
from patchmosaic.denoisers.base import (
    eps_from_x0,
    samples_by_label,
    score_from_x0,
    v_from_x0,
    x0_from_eps,
    x0_from_score,
    x0_from_v,
)
from patchmosaic.errors import LabelError, NoiseLevelError, PatchMosaicError, PatchSizeError, ShapeError, ValueRangeError
from patchmosaic.locality import LocalityScale
from patchmosaic.noise import CosineSchedule, EDMSchedule, FlowMatchingSchedule

POOL = ImageSet(images(n=4))
SCHEDULES = [CosineSchedule(), EDMSchedule(), FlowMatchingSchedule()]
scales = st.floats(0.01, 10).map(lambda scale: torch.tensor(scale, dtype=torch.float64))


@settings(max_examples=30, deadline=None)
@given(alpha=scales, sigma=scales, seed=st.integers(0, 1000))
def test_every_prediction_of_a_clean_image_leads_back_to_it(alpha, sigma, seed):
    generator = torch.Generator().manual_seed(seed)
    x0, eps = torch.randn(2, 3, 2, 4, 4, generator=generator, dtype=torch.float64)
    x_t = alpha * x0 + sigma * eps
    torch.testing.assert_close(eps_from_x0(x_t, x0, alpha, sigma), eps, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(score_from_x0(x_t, x0, alpha, sigma), -eps / sigma, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(v_from_x0(x_t, x0, alpha, sigma), alpha * eps - sigma * x0, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(x0_from_eps(x_t, eps, alpha, sigma), x0, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(x0_from_score(x_t, -eps / sigma, alpha, sigma), x0, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(x0_from_v(x_t, alpha * eps - sigma * x0, alpha, sigma), x0, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda schedule: type(schedule).__name__)
@pytest.mark.parametrize("machine", MACHINES)
def test_what_a_denoiser_predicts_is_consistent(machine, schedule):
    denoiser = MACHINES[machine].build(POOL, 3, schedule=schedule)
    t = torch.tensor([0.05, 0.3, 0.7, 0.95], dtype=torch.float64)
    x_t = noisy(POOL.images, schedule, t)
    alpha, sigma = (scale[:, None, None, None] for scale in schedule(t))
    x0_hat, eps = denoiser(x_t, t), denoiser.eps(x_t, t)
    torch.testing.assert_close(alpha * x0_hat + sigma * eps, x_t, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(denoiser.score(x_t, t), -eps / sigma, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(denoiser.v(x_t, t), alpha * eps - sigma * x0_hat, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda schedule: type(schedule).__name__)
def test_the_ideal_score_is_the_gradient_of_the_log_density(schedule):
    """Tweedie: p_t is a mixture of Gaussians round alpha phi_n, and autograd knows its gradient."""
    t = torch.tensor([0.1, 0.5], dtype=torch.float64)
    alpha, sigma = (scale[:, None, None, None, None] for scale in schedule(t))
    x_t = noisy(POOL.images[:2], schedule, t).requires_grad_()
    exponents = -((x_t[:, None] - alpha * POOL.images.double()) ** 2 / (2 * sigma**2)).sum((2, 3, 4))
    exponents.logsumexp(1).sum().backward()
    score = IdealDenoiser(POOL, schedule=schedule).score(x_t.detach(), t)
    torch.testing.assert_close(score, x_t.grad, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("machine", MACHINES)
def test_labels_reach_every_prediction(machine):
    pool = labelled()
    denoiser = MACHINES[machine].build(pool, 3)
    of_class = MACHINES[machine].build(ImageSet(pool.images[pool.labels == 7]), 3)
    x_t = noisy(pool.images[:2], denoiser.schedule, 0.4)
    for method in ("__call__", "eps", "score", "v"):
        expected = getattr(of_class, method)(x_t, 0.4)
        torch.testing.assert_close(getattr(denoiser, method)(x_t, 0.4, torch.tensor([7, 7])), expected, rtol=1e-9, atol=1e-9)


def test_labels_split_a_batch():
    ((label, samples),) = samples_by_label(None, 4, torch.device("cpu"))
    assert label is None
    assert samples.tolist() == [0, 1, 2, 3]
    grouped = samples_by_label(torch.tensor([4, 1, 4, 4]), 4, torch.device("cpu"))
    found = {label: samples.tolist() for label, samples in grouped}
    assert found == {4: [0, 2, 3], 1: [1]}


# Refusals.


def refused(error, match, *arguments, machine="IS", pool=POOL, schedule=None):
    for denoise in ("__call__", "eps", "score", "v"):
        with pytest.raises(error, match=match):
            getattr(MACHINES[machine].build(pool, 3, schedule=schedule), denoise)(*arguments)


@pytest.mark.parametrize("machine", MACHINES)
def test_images_of_another_shape(machine):
    refused(ShapeError, r"2x6x5 images, got \(1, 2, 5, 6\)", torch.zeros(1, 2, 5, 6), 0.5, machine=machine)
    refused(ShapeError, "2x6x5", torch.zeros(1, 1, 6, 5), 0.5, machine=machine)


def test_images_that_are_not_numbers():
    for bad in (math.nan, math.inf):
        x_t = torch.zeros(2, 2, 6, 5)
        x_t[1, 0, 2, 3] = bad
        refused(ValueRangeError, "finite", x_t, 0.5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(dtype):
    refused(ValueRangeError, r"float32 or float64.*x_t\.float", torch.zeros(1, 2, 6, 5, dtype=dtype), 0.5)


def test_times():
    x_t = torch.zeros(2, 2, 6, 5)
    refused(NoiseLevelError, "positive.*clean image", x_t, 0.0)
    refused(NoiseLevelError, "positive", x_t, torch.tensor([0.5, 0.0]))
    refused(NoiseLevelError, r"\[0, 1\]", x_t, 1.5)
    refused(NoiseLevelError, r"\[0, 1\]", x_t, math.nan)
    refused(ShapeError, r"t must be one number or one a sample, \(2,\), got \(3,\)", x_t, torch.full((3,), 0.5))
    refused(ShapeError, "t must be", x_t, torch.full((2, 1), 0.5))


def test_labels():
    x_t, pool = torch.zeros(2, 2, 6, 5), labelled()
    refused(LabelError, "no classes", x_t, 0.5, 3)
    refused(LabelError, r"got \[0, 9\].*\[3, 7\]", x_t, 0.5, torch.tensor([9, 0]), pool=pool)
    refused(LabelError, r"got \[4\]", x_t, 0.5, 4, pool=pool)
    refused(ShapeError, "label must be one number or one a sample", x_t, 0.5, torch.tensor([3, 7, 3]), pool=pool)


@pytest.mark.parametrize("patch_size", [0, 2, -1])
def test_patch_sizes(patch_size):
    for kind in (LocalDenoiser, EquivariantLocalDenoiser):
        with pytest.raises(PatchSizeError, match=f"odd.*got {patch_size}"):
            kind(POOL, patch_size)
        with pytest.raises(PatchSizeError, match="odd"):
            kind(POOL, 3).at_patch_sizes(torch.zeros(1, 2, 6, 5), 0.5, [3, patch_size])


def test_valid_patches_must_fit():
    def build(patch_size):
        return EquivariantLocalDenoiser(POOL, patch_size, training_padding="valid")

    assert build(5).patch_size == 5
    for bad in (7, LocalityScale((0.1, 1.0), (3, 7))):
        with pytest.raises(PatchSizeError, match=r"at most 5 here.*got 7.*circular"):
            build(bad)
    with pytest.raises(PatchSizeError, match="at most 5"):
        build(3).at_patch_sizes(torch.zeros(1, 2, 6, 5), 0.5, [7])


def test_padding_has_two_names():
    unchecked = inspect.unwrap(EquivariantLocalDenoiser.__init__)  # without the annotations that only tests enforce
    with pytest.raises(PatchMosaicError, match=r"circular.*'zeros'"):
        unchecked(object.__new__(EquivariantLocalDenoiser), POOL, 3, training_padding="zeros")


# Descriptions.


def test_descriptions_tell_denoisers_apart():
    other = ImageSet(POOL.images.flip(0))
    scale = LocalityScale((0.1, 1.0), (3, 5))
    described = [machine.build(POOL, 3).describe() for machine in MACHINES.values()]
    described += [IdealDenoiser(other).describe(), IdealDenoiser(POOL, schedule=EDMSchedule()).describe()]
    described += [LocalDenoiser(POOL, 5).describe(), LocalDenoiser(POOL, scale).describe()]
    assert len({repr(record) for record in described}) == len(described)
    assert LocalDenoiser(POOL, 3, memory_budget=2**20).describe() == LocalDenoiser(POOL, 3).describe()
