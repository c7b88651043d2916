"""Folders of diffusers: what may lie where, and what is refused."""

import json
import shutil
import socket
import subprocess
import sys

import pytest
import safetensors.torch
import torch
from diffusers_cases import PLAIN, diffusers, saved, tiny_unet

from patchmosaic.errors import CheckpointError, MissingExtraError
from patchmosaic.interop import diffusers_denoiser, load_diffusers

DDIM = diffusers.DDIMScheduler
WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture
def folder(tmp_path):
    return saved(tmp_path / "model", tiny_unet(), DDIM(**PLAIN))


def same(network, unet):
    return all(torch.equal(a, b) for a, b in zip(network.module.unet.parameters(), unet.parameters(), strict=True))


def test_nothing_is_fetched(folder, monkeypatch):
    def refuse(*arguments):
        raise AssertionError("a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert same(load_diffusers(folder), tiny_unet())


def test_averaged_weights(folder):
    with pytest.raises(CheckpointError, match=r"no unet_ema/config.json.*There is unet/: leave out EMA"):
        load_diffusers(folder, ema=True)
    average = diffusers.training_utils.EMAModel(
        tiny_unet(seed=1).parameters(), model_cls=diffusers.UNet2DModel, model_config=tiny_unet().config
    )
    average.save_pretrained(folder / "unet_ema")
    assert same(load_diffusers(folder), tiny_unet())
    assert same(load_diffusers(folder, ema=True), tiny_unet(seed=1))
    shutil.rmtree(folder / "unet")
    with pytest.raises(CheckpointError, match="ask for EMA"):
        load_diffusers(folder)


def test_a_variant_is_computed_in_float32(folder):
    tiny_unet(seed=1).half().save_pretrained(folder / "unet", variant="fp16")
    network = load_diffusers(folder, variant="fp16")
    assert {parameter.dtype for parameter in network.module.parameters()} == {torch.float32}
    assert same(network, tiny_unet(seed=1).half().float())
    (folder / "unet" / WEIGHTS).unlink()
    with pytest.raises(CheckpointError, match=r"diffusion_pytorch_model\.fp16\.safetensors"):
        load_diffusers(folder)


def test_where_the_scheduler_may_lie(folder, tmp_path):
    """Beside `unet/`, beside a bare model, one above a training checkpoint, or where one says."""
    (folder / "checkpoint-500").mkdir()
    shutil.copytree(folder / "unet", folder / "checkpoint-500" / "unet")
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(folder / "unet", elsewhere)
    for place in (folder, folder / "unet", folder / "checkpoint-500"):
        assert same(load_diffusers(place), tiny_unet())
    with pytest.raises(CheckpointError, match=r"no scheduler_config\.json"):
        load_diffusers(elsewhere)
    for given in (folder / "scheduler", folder / "scheduler" / "scheduler_config.json"):
        assert same(load_diffusers(elsewhere, scheduler=given), tiny_unet())


def edit(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def pickled(folder):
    (folder / "unet" / WEIGHTS).rename(folder / "unet" / "diffusion_pytorch_model.bin")


def pickled_beside_a_variant(folder):
    """diffusers would fall back to the pickle if it were let."""
    tiny_unet().save_pretrained(folder / "unet", safe_serialization=False)
    (folder / "unet" / WEIGHTS).rename(folder / "unet" / "diffusion_pytorch_model.fp16.safetensors")


def lacking(folder):
    weights = safetensors.torch.load_file(folder / "unet" / WEIGHTS)
    del weights["conv_in.bias"]
    safetensors.torch.save_file(weights, folder / "unet" / WEIGHTS)


def other_shape(folder):
    weights = safetensors.torch.load_file(folder / "unet" / WEIGHTS)
    safetensors.torch.save_file({**weights, "conv_in.bias": torch.zeros(3)}, folder / "unet" / WEIGHTS)


def latent(folder):
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "LDMPipeline", "vqvae": ["diffusers", "VQModel"]}))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (pickled, "unpickling runs whatever code.*convert them once"),
        (pickled_beside_a_variant, r"cannot be read.*fp16\.safetensors"),
        (lambda folder: (folder / "unet" / WEIGHTS).unlink(), "there are no weights"),
        (lambda folder: (folder / "unet" / WEIGHTS).write_bytes(b"nonsense"), "cannot be read"),
        (lacking, r"lack 1 tensors, such as conv_in\.bias"),
        (other_shape, r"cannot be read.*conv_in\.bias"),
        (lambda folder: edit(folder / "unet" / "config.json", block_out_channels=[8]), "cannot be read"),
        (lambda folder: (folder / "unet" / "config.json").unlink(), r"no unet/config.json.*save_pretrained"),
        (lambda folder: (folder / "unet" / "config.json").write_text("{"), "not valid JSON"),
        (lambda folder: edit(folder / "unet" / "config.json", _class_name="UNet2DConditionModel"), "text-conditioned"),
        (lambda folder: edit(folder / "unet" / "config.json", _class_name="DiTTransformer2DModel"), "only UNet2DModel"),
        (lambda folder: edit(folder / "unet" / "config.json", out_channels=2), "no learned variance"),
        (lambda folder: edit(folder / "unet" / "config.json", class_embed_type="timestep"), "num_class_embeds"),
        (latent, "vqvae"),
        (lambda folder: shutil.rmtree(folder / "scheduler"), "nobody knows at which noise levels"),
        (lambda folder: edit(folder / "scheduler" / "scheduler_config.json", _class_name="os"), "no schedule is known for os"),
        (
            lambda folder: diffusers.FlowMatchEulerDiscreteScheduler().save_pretrained(folder / "scheduler"),
            "no schedule is known for FlowMatch",
        ),
        (
            lambda folder: diffusers.DPMSolverMultistepScheduler(
                use_flow_sigmas=True, prediction_type="flow_prediction"
            ).save_pretrained(folder / "scheduler"),
            "no schedule is known for DPM.*flow_prediction",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused(folder, damage, message):
    damage(folder)
    with pytest.raises(CheckpointError, match=message):
        load_diffusers(folder)


def test_a_folder_that_is_not_there_is_not_looked_for_on_the_hub(tmp_path):
    with pytest.raises(CheckpointError, match="google/ddpm-cifar10-32"):
        load_diffusers("google/ddpm-cifar10-32")


def test_descriptions_tell_networks_apart(folder):
    """Results are kept under the description: the same folder twice is the same network, another schedule is not."""
    assert load_diffusers(folder).describe() == load_diffusers(folder).describe()
    described = [
        diffusers_denoiser(unet, scheduler).describe()
        for unet, scheduler in [
            (tiny_unet(), DDIM(**PLAIN)),
            (tiny_unet(seed=1), DDIM(**PLAIN)),
            (tiny_unet(), DDIM(beta_end=0.03, **PLAIN)),
            (tiny_unet(), DDIM(prediction_type="sample", **PLAIN)),
            (tiny_unet(), diffusers.EDMEulerScheduler()),
            (tiny_unet(), diffusers.EDMEulerScheduler(sigma_data=1.0)),
        ]
    ]
    assert described[0] == load_diffusers(folder).describe()
    assert len({json.dumps(description) for description in described}) == len(described)


def test_without_diffusers_the_install_line(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'patchmosaic\[diffusers\]'"):
        load_diffusers(folder)


@pytest.mark.parametrize(
    ("code", "answer"),
    [
        ("import patchmosaic.runs, patchmosaic.interop; print('diffusers' in sys.modules)", "False"),
        (
            "from patchmosaic.errors import MissingExtraError\nsys.modules['diffusers'] = None\n"
            "try: from patchmosaic.interop import DenoiserModel\nexcept MissingExtraError as error: print(error.hint)",
            "pip install 'patchmosaic[diffusers]'",
        ),
    ],
    ids=["not imported before it is used", "not there"],
)
def test_diffusers_is_imported_when_it_is_used(code, answer):
    result = subprocess.run([sys.executable, "-c", f"import sys\n{code}"], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == answer
