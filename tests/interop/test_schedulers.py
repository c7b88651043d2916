"""Schedules against diffusers' own tables, in both directions."""

import inspect

import numpy as np
import pytest
import torch
from diffusers_cases import diffusers, diffusers_is_quiet

from patchmosaic.errors import NoiseLevelError, PatchMosaicError
from patchmosaic.interop.remarks import differences
from patchmosaic.interop.schedulers import OF_EDM, WITH_BETAS, ddim_scheduler, first_timesteps, schedule_of
from patchmosaic.noise import CosineSchedule, EDMSchedule, FlowMatchingSchedule, LinearBetaSchedule, OffsetCosineSchedule

pytestmark = diffusers_is_quiet


@pytest.mark.parametrize("kind", WITH_BETAS)
def test_a_timestep_has_the_noise_that_its_network_was_trained_with(kind):
    scheduler = getattr(diffusers, kind)(num_train_timesteps=500, beta_schedule="scaled_linear", beta_end=0.03)
    i = torch.tensor([0, 1, 250, 498, 499])
    alpha, sigma = schedule_of(scheduler)((i.double() + 1) / 500)
    torch.testing.assert_close(alpha**2, scheduler.alphas_cumprod[i].double(), rtol=1e-6, atol=0)
    torch.testing.assert_close(sigma**2, 1 - scheduler.alphas_cumprod[i].double(), rtol=1e-6, atol=0)


@pytest.mark.parametrize("kind", ["DDPMScheduler", "DDIMScheduler", "EulerDiscreteScheduler", "DPMSolverMultistepScheduler"])
def test_zero_terminal_noise_is_zero(kind):
    """Some schedulers lift the last alpha_bar so as not to divide by it; a network is trained at 0."""
    schedule = schedule_of(getattr(diffusers, kind)(rescale_betas_zero_snr=True))
    assert schedule(1.0)[0].item() == 0
    assert schedule(0.999)[0].item() > 0


@pytest.mark.parametrize("kind", OF_EDM)
def test_edm_has_its_own_levels(kind):
    scheduler = getattr(diffusers, kind)(sigma_min=0.01, sigma_max=50.0, rho=5.0)
    scheduler.set_timesteps(12)
    _, sigma = schedule_of(scheduler)(torch.linspace(1, 0, 12, dtype=torch.float64))
    np.testing.assert_allclose(sigma.numpy(), scheduler.sigmas[:12].numpy(), rtol=1e-5)


def test_the_continuous_timesteps_of_euler_are_not_taken_for_ours():
    with pytest.raises(PatchMosaicError, match=r"known for EulerDiscreteScheduler.*timestep_type='continuous'"):
        schedule_of(diffusers.EulerDiscreteScheduler(timestep_type="continuous", prediction_type="v_prediction"))


@pytest.mark.parametrize("kind", WITH_BETAS)
def test_the_remedy_that_the_warning_names_has_the_same_levels_and_nothing_to_warn_of(kind):
    """`from_config` would not do: of Heun's betas it carries over only those that are not Heun's defaults."""
    scheduler = getattr(diffusers, kind)(beta_end=0.015)
    remedied = ddim_scheduler(schedule_of(scheduler), "epsilon", 1000)
    assert differences(remedied) == []
    torch.testing.assert_close(remedied.alphas_cumprod, scheduler.alphas_cumprod, rtol=1e-6, atol=0)


@pytest.mark.parametrize("kind", WITH_BETAS)
def test_fewer_timesteps_are_the_lowest_of_the_same(kind):
    scheduler = getattr(diffusers, kind)(beta_schedule="squaredcos_cap_v2")
    fewer = first_timesteps(scheduler, 900)
    assert type(fewer) is type(scheduler)
    torch.testing.assert_close(fewer.alphas_cumprod, scheduler.alphas_cumprod[:900], rtol=0, atol=0)
    ignored = {"num_train_timesteps", "trained_betas", "_use_default_values"}
    assert {k: v for k, v in fewer.config.items() if k not in ignored} == {
        k: v for k, v in scheduler.config.items() if k not in ignored
    }


def test_fewer_timesteps_of_a_rescaled_schedule_are_not_rescaled_again():
    scheduler = diffusers.DDIMScheduler(rescale_betas_zero_snr=True)
    torch.testing.assert_close(first_timesteps(scheduler, 990).alphas_cumprod, scheduler.alphas_cumprod[:990], rtol=0, atol=0)


def test_timesteps_that_there_are_not_are_refused():
    for scheduler, count in [
        (diffusers.DDIMScheduler(), 1001),
        (diffusers.DDIMScheduler(), 0),
        (diffusers.EDMEulerScheduler(), 9),
    ]:
        with pytest.raises(PatchMosaicError, match="timesteps must be 1 to 1000"):
            first_timesteps(scheduler, count)


SCHEDULES = [CosineSchedule(), LinearBetaSchedule(), OffsetCosineSchedule(), EDMSchedule(), FlowMatchingSchedule()]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda schedule: type(schedule).__name__)
def test_a_scheduler_of_ours_has_our_noise_levels(schedule):
    scheduler = ddim_scheduler(schedule, "sample", 200)
    assert differences(scheduler) == []
    t = torch.arange(1, 201, dtype=torch.float64) / 200
    alpha_bar = 1 / (1 + schedule.noise_level(t) ** 2)
    torch.testing.assert_close(scheduler.alphas_cumprod.double(), alpha_bar, rtol=1e-6, atol=1e-7)
    assert list(ddim_times(scheduler, 20)) == pytest.approx([1 - i / 20 for i in range(20)])


def ddim_times(scheduler, steps):
    scheduler.set_timesteps(steps)
    return ((scheduler.timesteps.double() + 1) / scheduler.config.num_train_timesteps).tolist()


def test_epsilon_where_it_says_nothing_is_refused():
    with pytest.raises(NoiseLevelError, match='prediction_type="sample"'):
        ddim_scheduler(OffsetCosineSchedule(), "epsilon")
    with pytest.raises(PatchMosaicError, match="v_prediction"):
        inspect.unwrap(ddim_scheduler)(CosineSchedule(), "x0")  # without the annotations that only tests enforce
