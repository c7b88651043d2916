"""Networks and trainings by name."""

import pytest
import torch
from jaxtyping import TypeCheckError

from patchmosaic.errors import LabelError, PatchMosaicError, ShapeError
from patchmosaic.networks import MLP, PRESETS, RECIPES, ResNet, TrainingSettings, UNet, preset_network
from patchmosaic.networks.base import Network
from patchmosaic.networks.layers import SelfAttention


def parameters(network: Network) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_at_the_papers_size_they_are_the_papers() -> None:
    cifar = {"image_shape": (3, 32, 32), "recipe": "paper", "num_classes": 10}
    assert parameters(preset_network("resnet", **cifar)) == 4_021_251
    assert parameters(preset_network("unet", **cifar)) == 2_032_326


def test_the_attention_unet_is_that_of_the_paper() -> None:
    """64 channels times 1, 2, 2, 2, three residual blocks a level, attention at 32, 16 and 8 pixels."""
    network = preset_network("attention-unet", (3, 32, 32), recipe="paper", num_classes=10)
    assert isinstance(network, UNet)
    assert (network.widths, network.blocks, network.residual, network.attention) == ((64, 128, 128, 128), 3, True, (0, 1, 2))
    sides: list[int] = []
    for module in network.modules():
        if isinstance(module, SelfAttention):
            module.register_forward_hook(lambda module, inputs, h: sides.append(h.shape[-1]))
    with torch.inference_mode():
        network.eval()(torch.zeros(1, 3, 32, 32), torch.tensor([0.5]), torch.tensor([3]))
    assert sides == [32, 16, 8, 8, 16, 32]


@pytest.mark.parametrize(("side", "levels"), [(64, (1, 2, 3)), (8, (0,)), (512, (3,))])
def test_attention_is_where_the_image_is_8_to_32_pixels_across_or_coarsest(side: int, levels: tuple[int, ...]) -> None:
    network = preset_network("attention-unet", (1, side, side), width=8)
    assert isinstance(network, UNet)
    assert network.attention == levels


@pytest.mark.parametrize("conditional", [False, True])
@pytest.mark.parametrize("padding", ["zeros", "circular"])
@pytest.mark.parametrize("name", [name for name in PRESETS if name != "mlp"])
def test_all_convolutional_ones_come_with_either_padding_and_with_classes_or_without(
    name: str, padding: str, conditional: bool
) -> None:
    """With circular padding, shifting the input by the strides shifts the output; with zeros it does not."""
    classes = 3 if conditional else None
    network = preset_network(name, (2, 16, 16), width=16, depth=1, padding=padding, num_classes=classes).eval()
    for module in network.modules():
        if isinstance(module, SelfAttention):
            torch.nn.init.normal_(module.result.weight, std=0.1)  # at first it adds nothing
    x, t = torch.randn((1, 2, 16, 16), generator=torch.Generator().manual_seed(0)), torch.tensor([0.5])
    label = torch.tensor([1]) if conditional else None
    with torch.inference_mode():
        rolled = network(x.roll(8, 2), t, label)
        error = (rolled - network(x, t, label).roll(8, 2)).abs().max() / rolled.abs().max()
    assert (error < 1e-4) == (padding == "circular")
    with pytest.raises(LabelError):
        network(x, t, None if conditional else torch.tensor([1]))


def test_width_and_depth_mean_what_they_say() -> None:
    resnet = preset_network("resnet", (1, 8, 8), width=32, depth=2)
    assert isinstance(resnet, ResNet)
    assert (resnet.width, resnet.depth) == (32, 2)
    unet = preset_network("unet", (1, 8, 8), width=8, depth=2)
    assert isinstance(unet, UNet)
    assert (unet.widths, unet.blocks) == ((8, 16, 32), 2)
    mlp = preset_network("mlp", (1, 8, 8), width=20, depth=2)
    assert isinstance(mlp, MLP)
    assert mlp.widths == (20, 20)


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(PatchMosaicError, match=r"no such network, got 'transformer'\. Known: resnet, unet"):
        preset_network("transformer", (1, 8, 8))
    with pytest.raises(PatchMosaicError, match="no mlp of this recipe"):
        preset_network("mlp", (1, 8, 8), recipe="paper")
    with pytest.raises((PatchMosaicError, TypeCheckError), match="no convolutions to pad"):
        preset_network("mlp", (1, 8, 8), padding="circular")
    with pytest.raises(ShapeError, match="multiples of 8, got 28x28"):
        preset_network("attention-unet", (1, 28, 28))


def test_the_papers_training_is_300_epochs_of_its_adam() -> None:
    settings = RECIPES["paper"](50_000)
    assert settings.steps * settings.batch_size == pytest.approx(300 * 50_000, abs=127)
    assert (settings.batch_size, settings.learning_rate, settings.objective, settings.times) == (
        128,
        1e-4,
        "mse",
        "thousandths",
    )
    assert settings.rate(1000) == pytest.approx(1e-4 * 0.999965**1000)
    assert settings.ema_half_life is None


def test_settings_at_their_defaults_are_described_as_before_there_was_more_to_choose() -> None:
    """Word for word what trainings of the first version wrote into their files: they go on, and are not done again."""
    first = {
        "steps": 6000,
        "batch_size": 64,
        "learning_rate": 0.001,
        "lr_schedule": "cosine",
        "seed": 0,
        "precision": "auto",
        "objective": "log_mse",
    }
    assert RECIPES["cpu"](12).to_json() == first
    more = TrainingSettings(ema_half_life=500.0, times="thousandths")
    assert more.to_json().items() >= {"ema_half_life": 500.0, "times": "thousandths"}.items()
    assert TrainingSettings(**more.to_json()) == more
    unet = {"channels", "widths", "blocks", "padding", "normalisation", "skips", "pooling", "attention", "num_classes"}
    assert set(UNet(1, (4,)).config()) == unet | {"embedding_width", "x0_schedule"}
