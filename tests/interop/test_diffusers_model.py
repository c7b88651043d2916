"""Ours in theirs: diffusers' pipelines and schedulers draw with our machines what our sampler draws."""

import json
import warnings

import pytest
import safetensors.torch
import torch
from diffusers_cases import diffusers, diffusers_is_quiet, distance, pool, their_samples
from safetensors import safe_open

from patchmosaic.denoisers import (
    MACHINES,
    EquivariantLocalDenoiser,
    IdealDenoiser,
    KernelDensityDenoiser,
    LocalDenoiser,
    PatchDenoiser,
    WienerDenoiser,
)
from patchmosaic.errors import CheckpointError, LabelError, PatchMosaicError
from patchmosaic.interop import DenoiserModel
from patchmosaic.locality import LocalityScale
from patchmosaic.noise import CosineSchedule, EDMSchedule, FlowMatchingSchedule, LinearBetaSchedule, OffsetCosineSchedule
from patchmosaic.sampling import sample, seeds

WEIGHTS = "diffusion_pytorch_model.safetensors"
pytestmark = diffusers_is_quiet

SCALE = LocalityScale((0.1, 1.0), (3, 5))


def machine(name, images, **options):
    kind = MACHINES[name]
    return kind(images, **({"patch_size": SCALE} if issubclass(kind, PatchDenoiser) else {}), **options)


@pytest.mark.parametrize("prediction", ["epsilon", "sample", "v_prediction"])
@pytest.mark.parametrize(("channels", "label"), [(1, None), (3, (0, 2, 1))])
def test_ddim_draws_what_we_draw(channels, label, prediction):
    denoiser = machine("bbELS", pool(channels, labelled=True), schedule=LinearBetaSchedule())
    model = DenoiserModel.from_denoiser(denoiser, prediction_type=prediction)
    x_T, label = seeds(3, denoiser.image_shape), None if label is None else torch.tensor(label)
    ours = sample(denoiser, x_T, 5, label).x0
    assert distance(their_samples(model, model.ddim_scheduler(), x_T, 5, label), ours) < 1e-4


@pytest.mark.parametrize("name", MACHINES)
def test_the_pipeline_draws_what_we_draw_with_every_machine(name):
    denoiser = machine(name, pool(3), schedule=LinearBetaSchedule())
    model = DenoiserModel.from_denoiser(denoiser)
    pipeline = diffusers.DDIMPipeline(unet=model, scheduler=model.ddim_scheduler())
    pipeline.set_progress_bar_config(disable=True)
    generators = [torch.Generator().manual_seed(i) for i in range(2)]
    theirs = pipeline(batch_size=2, generator=generators, num_inference_steps=4, output_type="np").images
    x_T = torch.cat([torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(i)) for i in range(2)])
    ours = (sample(denoiser, x_T, 4).x0 / 2 + 0.5).clamp(0, 1)
    assert distance(torch.from_numpy(theirs).permute(0, 3, 1, 2), ours) < 1e-4


@pytest.mark.parametrize(
    "schedule",
    [CosineSchedule(), OffsetCosineSchedule(), EDMSchedule(sigma_max=20.0), FlowMatchingSchedule()],
    ids=lambda schedule: type(schedule).__name__,
)
def test_any_schedule_of_ours_is_sampled_by_its_noise_levels(schedule):
    """Theirs preserves the variance, ours need not: the state is then another multiple of the same."""
    denoiser = machine("LS", pool(), schedule=schedule)
    model = DenoiserModel.from_denoiser(denoiser, prediction_type="v_prediction")
    x_T = seeds(2, denoiser.image_shape)
    ours = sample(denoiser, x_T * schedule.prior_std(), 5).x0
    assert distance(their_samples(model, model.ddim_scheduler(), x_T, 5), ours) < 1e-4


@pytest.mark.parametrize(("kind", "solver"), [("EulerDiscreteScheduler", "ddim"), ("HeunDiscreteScheduler", "heun")])
def test_fractional_timesteps(kind, solver):
    """Nine steps of linspace over 1,000 timesteps fall between whole ones: theirs interpolates there, and so do we."""
    denoiser = machine("Wiener", pool(), schedule=LinearBetaSchedule())
    model = DenoiserModel.from_denoiser(denoiser)
    scheduler = getattr(diffusers, kind).from_config(model.ddim_scheduler().config, timestep_spacing="linspace")
    scheduler.set_timesteps(9)
    timesteps = scheduler.timesteps.double().unique().flip(0)
    assert not torch.equal(timesteps, timesteps.round())
    x_T, times = seeds(2, denoiser.image_shape), (timesteps + 1) / 1000
    alpha, _ = denoiser.schedule(1.0)
    ours = sample(denoiser, alpha.float() * x_T * scheduler.init_noise_sigma, times=times, solver=solver).x0
    assert distance(their_samples(model, scheduler, x_T, 9), ours) < 1e-4


def test_a_model_of_ours_is_a_unet_in_all_they_ask_of_it():
    model = DenoiserModel.from_denoiser(machine("LS", pool(3)))
    x_t = seeds(2, (3, 8, 8))
    assert (model.config.in_channels, tuple(model.config.sample_size)) == (3, (8, 8))
    assert (model.dtype, model.device) == (torch.float32, torch.device("cpu"))
    output = model(x_t, 500)
    for timestep in (500.0, torch.tensor(500), torch.tensor([500, 500])):
        assert torch.equal(model(x_t, timestep, return_dict=False)[0], output.sample)
    one_each = torch.cat([model(x_t[:1], 10).sample, model(x_t[1:], 900).sample])
    torch.testing.assert_close(model(x_t, torch.tensor([10, 900])).sample, one_each, rtol=0, atol=1e-6)


def test_half_precision_is_of_the_samples_only():
    """A pipeline in float16 draws float16 noise; the training images are not rounded, nor is what is computed."""
    images = pool(stored=torch.float32)
    model = DenoiserModel.from_denoiser(machine("IS", images), prediction_type="sample")
    x_t = seeds(2, images.image_shape)
    exact = model(x_t.half().float(), 300).sample
    model.half()
    assert model.dtype == torch.float16
    assert model.denoiser.pool.content_hash == images.content_hash
    assert torch.equal(model(x_t.half(), 300).sample, exact.half())


@pytest.mark.parametrize("stored", [torch.uint8, torch.float32])
@pytest.mark.parametrize("name", MACHINES)
def test_save_and_load(tmp_path, name, stored):
    images = pool(3, labelled=True, stored=stored)
    denoiser = machine(name, images, schedule=LinearBetaSchedule(beta_max=15.0))
    model = DenoiserModel.from_denoiser(denoiser, prediction_type="v_prediction", num_train_timesteps=500)
    model.save_pretrained(tmp_path)
    again = DenoiserModel.from_pretrained(tmp_path)
    assert again.denoiser.describe() == denoiser.describe()
    assert again.denoiser.pool.content_hash == images.content_hash
    assert again.denoiser.pool.stored.dtype == stored
    x_t, label = seeds(2, (3, 8, 8)), torch.tensor([2, 0])
    for labels in (None, label):
        assert torch.equal(again(x_t, 250, labels).sample, model(x_t, 250, labels).sample)
    with safe_open(tmp_path / WEIGHTS, "pt") as file:
        assert torch.equal(file.get_tensor("images"), images.stored)


def test_settings_travel(tmp_path):
    denoiser = EquivariantLocalDenoiser(pool(), 3, training_padding="valid")
    DenoiserModel.from_denoiser(denoiser).save_pretrained(tmp_path)
    assert DenoiserModel.from_pretrained(tmp_path).denoiser.describe() == denoiser.describe()
    low = WienerDenoiser(pool(), rank=2)
    DenoiserModel.from_denoiser(low).save_pretrained(tmp_path)
    assert DenoiserModel.from_pretrained(tmp_path).denoiser.describe() == low.describe()


def test_a_whole_pipeline_of_theirs_with_our_model_inside(tmp_path):
    model = DenoiserModel.from_denoiser(machine("bbELS", pool(), schedule=LinearBetaSchedule()))
    pipeline = diffusers.DDIMPipeline(unet=model, scheduler=model.ddim_scheduler())
    pipeline.save_pretrained(tmp_path)
    again = diffusers.DDIMPipeline.from_pretrained(tmp_path, local_files_only=True)
    images = []
    for one in (pipeline, again):
        one.set_progress_bar_config(disable=True)
        generator = torch.Generator().manual_seed(0)
        images.append(one(generator=generator, num_inference_steps=3, output_type="np").images)
    assert (images[0] == images[1]).all()


def test_damaged_images_are_noticed(tmp_path):
    DenoiserModel.from_denoiser(machine("IS", pool(labelled=True))).save_pretrained(tmp_path)
    tensors = safetensors.torch.load_file(tmp_path / WEIGHTS)
    tensors["images"][3, 0, 2, 2] ^= 1
    safetensors.torch.save_file(tensors, tmp_path / WEIGHTS)
    with pytest.raises(CheckpointError, match=r"not the training images that config\.json describes"):
        DenoiserModel.from_pretrained(tmp_path)(seeds(1, (1, 8, 8)), 10)


def test_our_images_are_not_copied():
    images = pool()
    model = DenoiserModel.from_denoiser(IdealDenoiser(images))
    assert model.images.data_ptr() == images.stored.data_ptr() == model.denoiser.pool.stored.data_ptr()


def test_what_is_no_machine_is_refused(tmp_path):
    with pytest.raises(PatchMosaicError, match="KernelDensityDenoiser"):
        DenoiserModel.from_denoiser(KernelDensityDenoiser(pool(), 0.1))
    gaussian = WienerDenoiser.from_moments(torch.zeros(1, 2, 2).double(), torch.eye(4).double())
    with pytest.raises(PatchMosaicError, match="over a pool"):
        DenoiserModel.from_denoiser(gaussian)
    with pytest.raises(PatchMosaicError, match="prediction_type"):
        DenoiserModel.from_config({**DenoiserModel.from_denoiser(IdealDenoiser(pool())).config, "prediction_type": "x0"})
    DenoiserModel.from_denoiser(IdealDenoiser(pool())).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "machine": "XYZ"}))
    with pytest.raises(PatchMosaicError, match="Known: IS, ES, LS"):
        DenoiserModel.from_pretrained(tmp_path)


def test_labels_are_checked():
    model = DenoiserModel.from_denoiser(LocalDenoiser(pool(labelled=True), 3))
    with pytest.raises(LabelError, match=r"\[0, 1, 2\]"):
        model(seeds(1, (1, 8, 8)), 10, torch.tensor([3]))
    with pytest.raises(LabelError):
        DenoiserModel.from_denoiser(LocalDenoiser(pool(), 3))(seeds(1, (1, 8, 8)), 10, torch.tensor([0]))


def test_nothing_is_warned_of_on_the_way(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        DenoiserModel.from_denoiser(IdealDenoiser(pool())).save_pretrained(tmp_path)
        DenoiserModel.from_pretrained(tmp_path)(seeds(1, (1, 8, 8)), 10)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu(tmp_path):
    """The machine moves with the model; the training images stay where they are, for saving."""
    model = DenoiserModel.from_denoiser(machine("bbELS", pool(), schedule=LinearBetaSchedule()))
    pipeline = diffusers.DDIMPipeline(unet=model, scheduler=model.ddim_scheduler())
    pipeline.set_progress_bar_config(disable=True)
    on_cpu, on_gpu = (
        pipeline.to(device)(generator=torch.Generator().manual_seed(0), num_inference_steps=4, output_type="np").images
        for device in ("cpu", "cuda")
    )
    assert abs(on_cpu - on_gpu).max() < 1e-4
    model.save_pretrained(tmp_path)
    assert DenoiserModel.from_pretrained(tmp_path).to("cuda").denoiser.device.type == "cuda"
