"""`patchmosaic adopt` around a network that diffusers trained, and the verbs that follow, as a user runs them on digits."""

import json
import shutil

import pytest
import torch
from command_line import run
from safetensors.torch import load_file

from patchmosaic.data import load
from patchmosaic.errors import CheckpointError, LabelError, PatchMosaicError, ShapeError
from patchmosaic.runs import Run
from patchmosaic.sampling import seeds

diffusers = pytest.importorskip("diffusers", minversion="0.36", reason="needs pip install 'patchmosaic[diffusers]'")

LIMIT = ("--limit", 200)
TIMESTEPS = 980  # beyond, cosine betas leave nothing of the image


def tiny_unet(**options):
    torch.manual_seed(0)
    blocks = {"down_block_types": ("DownBlock2D",), "up_block_types": ("UpBlock2D",), "block_out_channels": (16,)}
    sizes = {"sample_size": 8, "in_channels": 1, "out_channels": 1, "layers_per_block": 1, "norm_num_groups": 4}
    return diffusers.UNet2DModel(**blocks, **sizes, add_attention=False, **options)


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """A folder left behind by a training loop of diffusers, as its examples write it; their samples of some seeds."""
    folder = tmp_path_factory.mktemp("elsewhere")
    unet, scheduler = tiny_unet(), diffusers.DDPMScheduler(beta_schedule="squaredcos_cap_v2")
    images = load("digits", None, limit=200).images
    optimizer = torch.optim.AdamW(unet.parameters(), lr=4e-3)
    for _ in range(150):
        x0 = images[torch.randint(len(images), (32,))]
        noise, timesteps = torch.randn_like(x0), torch.randint(1000, (32,))
        loss = torch.nn.functional.mse_loss(unet(scheduler.add_noise(x0, noise, timesteps), timesteps).sample, noise)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    unet.save_pretrained(folder / "unet")
    scheduler.save_pretrained(folder / "scheduler")
    ddim = diffusers.DDIMScheduler(
        TIMESTEPS, trained_betas=scheduler.betas[:TIMESTEPS].tolist(), clip_sample=False, timestep_spacing="trailing"
    )
    ddim.set_timesteps(10)
    x = seeds(6, (1, 8, 8))
    with torch.no_grad():
        for timestep in ddim.timesteps:
            x = ddim.step(unet(x, timestep).sample, timestep, x).prev_sample
    return folder, x


@pytest.fixture(scope="module")
def chain(elsewhere, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "theirs"
    adopted = run("adopt", elsewhere[0], "--data", "digits", *LIMIT, "--timesteps", TIMESTEPS, "--run", folder, "--json")
    run("calibrate", folder, "--machine", "bbELS", "--seeds", 2, "--steps", 10, "--largest", 5)
    compared = run("compare", folder, "--seeds", 6, "--steps", 10, "--json")
    return folder, adopted, json.loads(compared.stdout)["10"]


def test_what_was_adopted_is_told(chain):
    _, adopted, _ = chain
    report = json.loads(adopted.stdout)
    assert report["prediction"] == "eps"
    assert report["schedule"] == "TabulatedSchedule"
    assert report["parameters"] == sum(parameter.numel() for parameter in tiny_unet().parameters())
    assert report["classes"] == []
    told = " ".join(adopted.stderr.split())
    assert "Note: DDPMScheduler draws other images than `sample` does from the same noise: clip_sample=True" in told
    assert 'timestep_spacing="leading"' in told
    assert "(timesteps=" not in told  # they were taken


def test_the_network_of_the_run_draws_what_diffusers_draws(chain, elsewhere):
    folder, _, _ = chain
    (store,) = (folder / "samples").glob("network-*")
    ours = torch.stack([load_file(path)["result"] for path in sorted(store.glob("seed-*"))])
    torch.testing.assert_close(ours, elsewhere[1], rtol=1e-4, atol=1e-4)


def test_the_machines_predict_it(chain):
    """A short training, but of something."""
    _, _, compared = chain
    assert compared["bbELS"]["r"]["value"] > 0.5


def test_sample_takes_the_adopted_network(chain, elsewhere):
    folder, _, _ = chain
    report = json.loads(run("sample", folder, "--denoiser", "network", "--seeds", 2, "--steps", 10, "--json").stdout)
    images = load_file(f"{report['folder']}/samples.safetensors")["images"]
    torch.testing.assert_close(images, elsewhere[1][:2], rtol=1e-4, atol=1e-4)


def test_the_same_again_changes_nothing_and_another_is_refused(chain, elsewhere, tmp_path):
    folder, _, _ = chain
    before = {path: path.stat().st_mtime_ns for path in (folder / "network").rglob("*")}
    run("adopt", elsewhere[0], "--data", "digits", *LIMIT, "--timesteps", TIMESTEPS, "--run", folder)
    assert {path: path.stat().st_mtime_ns for path in (folder / "network").rglob("*")} == before
    other = shutil.copytree(elsewhere[0], tmp_path / "other")
    tiny_unet().save_pretrained(other / "unet")
    with pytest.raises(CheckpointError, match="another network"):
        run("adopt", other, "--data", "digits", *LIMIT, "--run", folder)
    assert not list(folder.glob(".network-*"))


def test_the_run_does_not_need_the_folder_any_more(elsewhere, tmp_path):
    source = shutil.copytree(elsewhere[0], tmp_path / "source")
    run("adopt", source, "--data", "digits", *LIMIT, "--run", tmp_path / "run")
    shutil.rmtree(source)
    network = Run(tmp_path / "run").network()
    assert network.image_shape == (1, 8, 8)


def test_a_training_inside_an_adopted_run_is_not_taken_for_it(elsewhere, tmp_path):
    run("adopt", elsewhere[0], "--data", "digits", *LIMIT, "--run", tmp_path)
    run("train", "digits", *LIMIT, "--width", 16, "--depth", 1, "--steps", 1, "--run", tmp_path)
    with pytest.raises(CheckpointError, match="two networks"):
        Run(tmp_path).network()


def test_a_network_of_ours(tmp_path):
    run("train", "digits", *LIMIT, "--width", 16, "--depth", 1, "--steps", 2, "--run", tmp_path / "first")
    result = run("adopt", tmp_path / "first" / "network", "--data", "digits", *LIMIT, "--run", tmp_path / "second")
    assert "other images" not in result.stderr
    ours, adopted = (Run(tmp_path / name).network() for name in ("first", "second"))
    assert adopted.describe() == ours.describe()
    half = run("adopt", tmp_path / "first" / "network", "--data", "digits", "--limit", 100, "--run", tmp_path / "half")
    assert "it was trained on other images (digits)" in " ".join(half.stderr.split())


def test_what_does_not_fit_is_refused(elsewhere, tmp_path):
    cases = [
        (ShapeError, r"images of \(1, 8, 8\), got training images of \(1, 16, 16\)", elsewhere[0], ("--image-size", 16)),
        (CheckpointError, "there is no unet_ema/config.json", elsewhere[0], ("--ema",)),
        (CheckpointError, "cannot be read", elsewhere[0], ("--variant", "fp16")),
        (CheckpointError, "no such file|there is no unet", tmp_path / "nowhere", ()),
    ]
    conditional = shutil.copytree(elsewhere[0], tmp_path / "conditional")
    tiny_unet(num_class_embeds=4).save_pretrained(conditional / "unet")
    cases += [(LabelError, r"classes 0 to 3, got images of classes \[0, 1, 2, .*9\]", conditional, ())]
    for i, (error, message, source, options) in enumerate(cases):
        with pytest.raises(error, match=message):
            run("adopt", source, "--data", "digits", *LIMIT, "--run", tmp_path / f"run-{i}", *options)
        with pytest.raises(PatchMosaicError):
            Run(tmp_path / f"run-{i}").network()


def test_a_conditional_network_is_asked_for_the_classes_of_its_images(elsewhere, tmp_path):
    source = shutil.copytree(elsewhere[0], tmp_path / "conditional")
    tiny_unet(num_class_embeds=10).save_pretrained(source / "unet")
    command = ("adopt", source, "--data", "digits", "--class", 3, "--class", 7, "--run", tmp_path / "run", "--json")
    assert json.loads(run(*command).stdout)["classes"] == [3, 7]
    report = json.loads(run("sample", tmp_path / "run", "--denoiser", "network", "--seeds", 4, "--steps", 2, "--json").stdout)
    assert set(load_file(f"{report['folder']}/samples.safetensors")["labels"].tolist()) <= {3, 7}
