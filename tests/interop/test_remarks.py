"""What is said of diffusers' schedulers, against what they do."""

import pytest
from diffusers_cases import PLAIN, diffusers, diffusers_is_quiet, distance, pool, their_samples, tiny_unet

from patchmosaic.denoisers import Denoiser, IdealDenoiser
from patchmosaic.interop import SchedulerWarning, ddim_scheduler, diffusers_denoiser, first_timesteps, remarks
from patchmosaic.interop.remarks import differences, steady_timesteps
from patchmosaic.interop.schedulers import schedule_of
from patchmosaic.sampling import ddim, sample, seeds

pytestmark = diffusers_is_quiet


@pytest.mark.parametrize(
    ("option", "phrase"),
    [
        ({"clip_sample": True}, "clip_sample"),
        ({"thresholding": True}, "thresholding"),
        ({"timestep_spacing": "leading"}, "leading"),
        ({"set_alpha_to_one": False}, "clean data"),
    ],
)
def test_what_is_warned_of_changes_the_images(option, phrase):
    """And what is not, does not: with none of these options DDIM draws what we draw."""
    unet, x_T = tiny_unet(), seeds(2, (1, 8, 8))
    other = diffusers.DDIMScheduler(prediction_type="v_prediction", **{**PLAIN, **option})
    with pytest.warns(SchedulerWarning, match=phrase):
        network = diffusers_denoiser(unet, other)
    ours = sample(network, x_T, 5).x0
    remedied = ddim_scheduler(network.schedule, "v_prediction", 1000)
    assert distance(ours, their_samples(unet, remedied, x_T, 5)) < 1e-4
    assert distance(ours, their_samples(unet, other, x_T, 5)) > 1e-3


def test_respaced_noise_levels_are_told():
    assert any("respaced" in told for told in differences(diffusers.EulerDiscreteScheduler(use_karras_sigmas=True)))
    assert any("clean data" in told for told in differences(diffusers.EulerDiscreteScheduler(final_sigmas_type="sigma_min")))


COSINE = "squaredcos_cap_v2"


def test_where_the_error_of_epsilon_would_rule():
    """Cosine betas end at alpha = 5e-5: 20 uniform steps begin with one from there to alpha = .08."""
    scheduler = diffusers.DDIMScheduler(beta_schedule=COSINE, **PLAIN)
    steady = steady_timesteps(scheduler)
    alpha = scheduler.alphas_cumprod.sqrt()
    assert float(alpha[949] / alpha[999]) > 1000
    assert float(alpha[round(0.95 * steady) - 1] / alpha[steady - 1]) == pytest.approx(10, rel=0.15)
    assert f"Take the first {steady} only (timesteps={steady})" in remarks(scheduler)[0]
    assert remarks(first_timesteps(scheduler, steady)) == []


@pytest.mark.parametrize(
    "scheduler",
    [
        diffusers.DDIMScheduler(**PLAIN),
        diffusers.DDIMScheduler(beta_schedule="scaled_linear", **PLAIN),
        diffusers.DDIMScheduler(beta_schedule=COSINE, prediction_type="v_prediction", **PLAIN),
        diffusers.DDIMScheduler(beta_schedule=COSINE, prediction_type="sample", **PLAIN),
        diffusers.EDMEulerScheduler(),
    ],
)
def test_what_is_plain_and_steady_needs_no_remark(scheduler):
    assert remarks(scheduler) == []


class Wrong(Denoiser):
    """A machine whose epsilon is a little off everywhere."""

    def __init__(self, machine, error):
        self.machine, self.error = machine, error
        self.schedule, self.image_shape = machine.schedule, machine.image_shape
        self.device = machine.device

    device = None

    def to(self, device):
        return self

    def describe(self):
        return {}

    def _denoise(self, x_t, t, label):
        alpha, sigma = (scale.to(x_t)[:, None, None, None] for scale in self.schedule(t))
        return self.machine(x_t, t, label) - sigma / alpha * self.error


def test_fewer_timesteps_keep_the_error_of_the_first_step_small():
    """What it is good for: an error of 1% in epsilon, after one step of 20 from t = 1."""
    scheduler = diffusers.DDIMScheduler(beta_schedule=COSINE, **PLAIN)
    errors = {}
    for count in (1000, steady_timesteps(scheduler)):
        machine = IdealDenoiser(pool(), schedule=schedule_of(first_timesteps(scheduler, count)))
        x_T = seeds(2, machine.image_shape)
        right, wrong = (next(ddim(each, x_T, 20)).x_next for each in (machine, Wrong(machine, 0.01)))
        errors[count] = float((right - wrong).abs().max())
    assert errors.pop(1000) > 10
    assert max(errors.values()) < 0.1
