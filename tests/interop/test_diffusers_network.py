"""Theirs in ours, judged by diffusers' own samplers on the same seeds."""

import warnings

import pytest
import torch
from diffusers_cases import PLAIN, diffusers, diffusers_is_quiet, distance, saved, their_samples, tiny_unet

from patchmosaic.errors import LabelError, NoiseLevelError
from patchmosaic.interop import SchedulerWarning, diffusers_denoiser, load_diffusers
from patchmosaic.sampling import sample, seeds

pytestmark = diffusers_is_quiet

DDIM = diffusers.DDIMScheduler


def times(scheduler):
    """Our times of their timesteps; Heun's visits some twice."""
    return (scheduler.timesteps.double().unique().flip(0) + 1) / scheduler.config.num_train_timesteps


@pytest.mark.parametrize("betas", ["linear", "squaredcos_cap_v2"])
@pytest.mark.parametrize("prediction", ["epsilon", "sample", "v_prediction"])
@pytest.mark.parametrize(("channels", "classes"), [(1, None), (3, 4)])
def test_ddim_is_theirs(tmp_path, channels, classes, prediction, betas):
    scheduler = DDIM(beta_schedule=betas, prediction_type=prediction, **PLAIN)
    unet = tiny_unet(channels, classes)
    x_T = seeds(3, (channels, 8, 8))
    label = None if classes is None else torch.tensor([0, 3, 1])
    with warnings.catch_warnings():
        # There is nothing to warn of, but that epsilon is divided by 5e-5 at the end of the cosine.
        warnings.simplefilter("ignore" if (prediction, betas) == ("epsilon", "squaredcos_cap_v2") else "error")
        network = load_diffusers(saved(tmp_path, unet, scheduler))
    assert network.image_shape == (channels, 8, 8)
    assert network.classes == tuple(range(classes or 0))
    assert distance(sample(network, x_T, 10, label).x0, their_samples(unet, scheduler, x_T, 10, label)) < 1e-5


@pytest.mark.parametrize("spacing", ["leading", "linspace"])
def test_other_timesteps_are_given_as_times(spacing):
    scheduler = DDIM(clip_sample=False, timestep_spacing=spacing, num_train_timesteps=30)
    unet, x_T = tiny_unet(), seeds(2, (1, 8, 8))
    with pytest.warns(SchedulerWarning, match=spacing):
        network = diffusers_denoiser(unet, scheduler)
    # DDIM steps by T // steps, whatever the spacing: with "linspace" it ends where it next looks only if it visits all.
    theirs = their_samples(unet, scheduler, x_T, {"leading": 10, "linspace": 30}[spacing])
    assert distance(sample(network, x_T, times=times(scheduler)).x0, theirs) < 1e-4


@pytest.mark.parametrize(("kind", "solver"), [("EulerDiscreteScheduler", "ddim"), ("HeunDiscreteScheduler", "heun")])
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_euler_and_heun_are_theirs(kind, solver, prediction):
    """They walk in x / alpha, and end at clean data as we do."""
    scheduler = getattr(diffusers, kind)(prediction_type=prediction, timestep_spacing="linspace")
    unet, x_T = tiny_unet(3), seeds(2, (3, 8, 8))
    with pytest.warns(SchedulerWarning):
        network = diffusers_denoiser(unet, scheduler)
    scheduler.set_timesteps(10)
    alpha, _ = network.schedule(1.0)
    start = alpha.float() * x_T * scheduler.init_noise_sigma
    assert (
        distance(sample(network, start, times=times(scheduler), solver=solver).x0, their_samples(unet, scheduler, x_T, 10))
        < 1e-4
    )


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("sigma_data", [0.5, 1.0])
def test_edm_is_theirs(prediction, sigma_data):
    scheduler = diffusers.EDMEulerScheduler(sigma_max=20.0, sigma_data=sigma_data, prediction_type=prediction)
    unet, x_T = tiny_unet(), seeds(2, (1, 8, 8))
    network = diffusers_denoiser(unet, scheduler)
    grid = torch.linspace(1, 0, 8, dtype=torch.float64).clamp_min(1e-9)  # theirs ends at sigma_min, our t = 0
    start = x_T * network.schedule.prior_std()
    assert distance(sample(network, start, times=grid).x0, their_samples(unet, scheduler, x_T, 8)) < 1e-5


def test_zero_terminal_noise_is_theirs():
    """alpha_bar = 0 at t = 1: v determines x0 there, epsilon does not."""
    scheduler = DDIM(prediction_type="v_prediction", rescale_betas_zero_snr=True, **PLAIN)
    unet, x_T = tiny_unet(), seeds(2, (1, 8, 8))
    network = diffusers_denoiser(unet, scheduler)
    assert network.schedule(1.0)[0].item() == 0
    assert distance(sample(network, x_T, 10).x0, their_samples(unet, scheduler, x_T, 10)) < 1e-5
    ending_in_noise = DDIM(rescale_betas_zero_snr=True, **PLAIN)
    with pytest.warns(SchedulerWarning, match="divided by alpha = 0"), pytest.raises(NoiseLevelError):
        sample(diffusers_denoiser(unet, ending_in_noise), x_T, 10)


class Asked(torch.nn.Module):
    """A stand-in for a UNet that only notes the timesteps."""

    def __init__(self, unet):
        super().__init__()
        self.config, self.asked = unet.config, []

    def forward(self, x_t, timestep, class_labels=None, return_dict=True):
        self.asked.append(timestep)
        return (torch.zeros_like(x_t),)


def test_the_network_is_asked_at_the_timesteps_of_its_training():
    network = diffusers_denoiser(tiny_unet(), DDIM(**PLAIN))
    network.module.unet = unet = Asked(network.module.unet)
    x_t = torch.zeros(4, 1, 8, 8)
    network(x_t, (torch.tensor([0, 499, 998, 999]).double() + 1) / 1000)
    assert torch.equal(unet.asked[0], torch.tensor([0.0, 499.0, 998.0, 999.0]))
    network(x_t, torch.tensor([0.0001, 0.0015, 0.5005, 1.0], dtype=torch.float64))
    torch.testing.assert_close(unet.asked[1], torch.tensor([0.0, 0.5, 499.5, 999.0]))


def test_fewer_timesteps_are_asked_as_before(tmp_path):
    """t = 1 is then a lower timestep, and the same network is asked about the same noise."""
    folder = saved(tmp_path, tiny_unet(), DDIM(beta_schedule="scaled_linear", **PLAIN))
    whole, fewer = load_diffusers(folder), load_diffusers(folder, timesteps=600)
    x_t = seeds(1, (1, 8, 8))
    for t in (0.25, 0.6):
        torch.testing.assert_close(fewer(x_t, t / 0.6), whole(x_t, t), rtol=1e-5, atol=1e-5)


def test_learned_embeddings_are_asked_at_whole_timesteps():
    unet = tiny_unet(time_embedding_type="learned", num_train_timesteps=1000)
    network = diffusers_denoiser(unet, DDIM(**PLAIN))
    x_t = seeds(1, (1, 8, 8))
    assert torch.equal(network(x_t, 0.3001), sample_at(unet, network, x_t, 299, 0.3001))


def sample_at(unet, network, x_t, timestep, t):
    alpha, sigma = (scale.float() for scale in network.schedule(t))
    with torch.no_grad():
        return (x_t - sigma * unet(x_t, timestep).sample) / alpha


def test_a_conditional_network_wants_its_labels(tmp_path):
    network = load_diffusers(saved(tmp_path, tiny_unet(classes=4), DDIM(**PLAIN)))
    with pytest.raises(LabelError, match=r"\[0, 1, 2, 3\]"):
        network(seeds(1, (1, 8, 8)), 0.5)
    with pytest.raises(LabelError):
        network(seeds(1, (1, 8, 8)), 0.5, 4)


def test_an_unknown_image_size_is_that_of_the_first_images():
    network = diffusers_denoiser(tiny_unet(sample_size=None), DDIM(**PLAIN))
    assert network(seeds(1, (1, 16, 8)), 0.5).shape == (1, 1, 16, 8)
