"""Tiny UNets of diffusers, and their own samplers as the judges of ours."""

import pytest
import torch
import torch.nn.functional as F

diffusers = pytest.importorskip("diffusers", minversion="0.36", reason="needs pip install 'patchmosaic[diffusers]'")

from patchmosaic.data.imageset import ImageSet  # noqa: E402

# Some of its schedulers use numpy in ways that numpy is about to leave behind.
diffusers_is_quiet = pytest.mark.filterwarnings("ignore::DeprecationWarning")

# What DDIMScheduler needs to be told so that it samples as we do.
PLAIN = {"clip_sample": False, "timestep_spacing": "trailing"}


def tiny_unet(channels=1, classes=None, size=8, seed=0, **options):
    """A real UNet2DModel with attention, 8 x 8 images and some thousand random weights."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        arguments = {
            "sample_size": size,
            "in_channels": channels,
            "out_channels": channels,
            "block_out_channels": (8, 8),
            "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
            "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
            "layers_per_block": 1,
            "norm_num_groups": 4,
            "attention_head_dim": 4,
            "num_class_embeds": classes,
        }
        return diffusers.UNet2DModel(**{**arguments, **options}).eval()


def saved(folder, unet, scheduler):
    """The folder that a training script of diffusers leaves behind."""
    unet.save_pretrained(folder / "unet")
    scheduler.save_pretrained(folder / "scheduler")
    return folder


@torch.no_grad()
def their_samples(model, scheduler, x_T, steps, label=None):
    """Their sampling loop, as their pipelines write it, from noise N(0, I) times init_noise_sigma."""
    scheduler.set_timesteps(steps)
    x = x_T * scheduler.init_noise_sigma
    for timestep in scheduler.timesteps:
        prediction = model(scheduler.scale_model_input(x, timestep), timestep, class_labels=label).sample
        x = scheduler.step(prediction, timestep, x).prev_sample
    return x


def distance(ours, theirs):
    """The largest difference, relative to the largest value where that is above 1.

    A network that has learnt nothing says anything at t = 1, divided by a small alpha: its samples are as large as that.
    """
    return float((ours - theirs).abs().max() / theirs.abs().max().clamp_min(1))


def pool(channels=1, count=24, labelled=False, stored=torch.uint8, size=8):
    """Smooth random pictures, so that neighbouring pixels have something to do with each other."""
    noise = torch.randn(count, channels, size + 2, size + 2, generator=torch.Generator().manual_seed(5))
    images = F.avg_pool2d(noise, 3, 1).tanh()
    labels = torch.arange(count) % 3 if labelled else None
    if stored == torch.uint8:
        return ImageSet(((images + 1) * 127.5).round().to(torch.uint8), labels)
    return ImageSet(images, labels)
