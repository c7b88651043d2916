"""The UNet against its published counts, its receptive field by autograd, shifts, and layers written out by hand."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from jaxtyping import TypeCheckError
from torch import Tensor, nn

from patchmosaic.data.imageset import ImageSet
from patchmosaic.denoisers import NetworkDenoiser
from patchmosaic.errors import PatchMosaicError, ShapeError
from patchmosaic.networks import ResNet, TrainingSettings, UNet, load_network, save_network, train
from patchmosaic.networks.layers import BiasFreeBatchNorm, SelfAttention
from patchmosaic.networks.unet import UNBOUNDED
from patchmosaic.noise import CosineSchedule, EDMSchedule

SMALL = (8, 16, 32)
VARIANTS: list[dict[str, Any]] = [
    {},
    {"padding": "circular"},
    {"normalisation": "batch"},
    {"normalisation": "batch without bias"},
    {"blocks": 2},
    {"blocks": 3},
    {"blocks": 4},
    {"widths": (4, 8, 16)},
    {"widths": (16, 32, 64)},
    {"skips": False},
    {"pooling": "average"},
    {"pooling": "convolution"},
    {"attention": (1, 2)},
    {"x0_schedule": CosineSchedule()},
    {"residual": True, "blocks": 2},
    {"residual": True, "normalisation": "batch without bias"},
]


def noise(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def unet(channels: int = 1, **changes: Any) -> UNet:
    return UNet(channels, **{"widths": SMALL, **changes})


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_the_papers_networks_have_their_published_sizes() -> None:
    """CIFAR-10: three channels, ten classes, an embedding of 256 numbers."""
    assert parameters(UNet(3, num_classes=10)) == 2_032_326
    assert parameters(ResNet(3, num_classes=10)) == 4_021_251


def seen_from(network: UNet, place: int, side: int) -> int:
    """Rows of the input that pixel (place, place) depends on, by autograd in float64."""
    rows: list[int] = []
    for seed in range(3):  # a ReLU may hide a pixel for one input, hardly for three
        x = noise(1, 1, side, side, seed=seed).double().requires_grad_()
        network.double()(x, torch.tensor([0.5], dtype=torch.float64))[0, 0, place, place].backward()
        assert x.grad is not None
        rows += (x.grad[0, 0] != 0).any(1).nonzero()[:, 0].tolist()
    return max(rows) - min(rows) + 1


def test_a_pixel_sees_44_or_48_by_its_place_among_the_strides() -> None:
    network = unet(pooling="average")
    assert [seen_from(network, 48 + place, 96) for place in range(4)] == [44, 48, 48, 44]
    assert network.receptive_field == 48


@pytest.mark.parametrize("changes", [{"widths": (16, 16), "blocks": 2}, {"widths": (16, 16)}, {"widths": (16,), "blocks": 2}])
def test_the_receptive_field_is_the_largest_that_autograd_finds(changes: dict[str, Any]) -> None:
    network = unet(pooling="average", **changes)
    side = 2 * network.receptive_field // 4 * 4 + 8
    seen = [seen_from(network, side // 2 // 4 * 4 + place, side) for place in range(network.stride)]
    assert network.receptive_field == max(seen)


@pytest.mark.parametrize("side", [8, 28, 32, 64])
@pytest.mark.parametrize("changes", VARIANTS, ids=str)
def test_every_variant_keeps_the_shape_of_its_input(changes: dict[str, Any], side: int) -> None:
    """Acceptance 23, first half."""
    with torch.inference_mode():
        output = unet(3, **changes).eval()(noise(2, 3, side, side), torch.tensor([0.2, 0.9]))
    assert output.shape == (2, 3, side, side)
    assert output.isfinite().all()


def shift_error(network: UNet, rows: int, columns: int) -> float:
    x, t = noise(2, 3, 32, 64), torch.tensor([0.2, 0.9])
    with torch.inference_mode():
        output = network.eval()(x, t)
        rolled = network(x.roll((rows, columns), dims=(2, 3)), t)
        return float((rolled - output.roll((rows, columns), dims=(2, 3))).abs().max() / output.abs().max())


@pytest.mark.parametrize("changes", VARIANTS, ids=str)
def test_circular_variants_commute_with_shifts_by_their_strides(changes: dict[str, Any]) -> None:
    """Acceptance 23, second half; with zero padding, or shifts between the strides, they do not."""
    circular = unet(3, **{**changes, "padding": "circular"})
    for module in circular.modules():
        if isinstance(module, SelfAttention):
            nn.init.normal_(module.result.weight, std=0.1)
    for rows, columns in [(4, 0), (-8, 12), (16, 20)]:
        assert shift_error(circular, rows, columns) < 1e-5
    assert shift_error(circular, 1, 0) > 1e-4
    assert shift_error(unet(3, **{**changes, "padding": "zeros"}), 4, 0) > 1e-4


def test_sides_that_the_strides_do_not_divide_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"multiples of 4, got 30x32\. Resize or pad"):
        unet()(noise(1, 1, 30, 32), torch.tensor([0.5]))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"widths": ()}, "one level"),
        ({"blocks": 0}, "blocks=0"),
        ({"attention": (3,)}, "levels from 0 to 2"),
        ({"padding": "reflect"}, "padding"),
        ({"normalisation": "layer"}, "normalisation"),
        ({"pooling": "median"}, "pooling"),
        ({"widths": (40, 101), "attention": (1,)}, "multiple of 32"),
        ({"x0_schedule": {"schedule": "Sigmoid"}}, "noise schedule"),
    ],
)
def test_what_makes_no_network_is_refused(changes: dict[str, Any], message: str) -> None:
    # Where annotations are checked at run time, an unknown choice is refused before our own check sees it.
    with pytest.raises((PatchMosaicError, TypeCheckError), match=message):
        unet(**changes)


@pytest.mark.parametrize("changes", [{}, {"padding": "circular", "attention": (2,), "normalisation": "batch"}])
def test_memory_layout_and_batch_change_nothing(changes: dict[str, Any]) -> None:
    network = unet(3, **changes).eval()
    x, t = noise(3, 3, 16, 16), torch.tensor([0.2, 0.5, 0.9])
    together = network(x, t)
    for i in range(3):
        torch.testing.assert_close(network(x[i : i + 1], t[i : i + 1])[0], together[i], atol=1e-5, rtol=1e-5)
    network.to(memory_format=torch.channels_last)
    torch.testing.assert_close(network(x.contiguous(memory_format=torch.channels_last), t), together, atol=1e-5, rtol=1e-5)


def test_time_and_label_reach_the_output() -> None:
    network = unet(num_classes=3)
    x, t, label = noise(1, 1, 8, 8), torch.tensor([0.2]), torch.tensor([0])
    output = network(x, t, label)
    assert (network(x, t + 0.5, label) - output).abs().max() > 1e-5
    assert (network(x, t, label + 2) - output).abs().max() > 1e-5


def test_autocast_does_not_round_time() -> None:
    network = unet()
    seen: list[Tensor] = []
    network.shift.register_forward_hook(lambda module, inputs, output: seen.append(output))
    with torch.autocast("cpu", torch.bfloat16):
        for t in (0.500, 0.5005):  # equal in bfloat16
            network(noise(1, 1, 8, 8), torch.tensor([t]))
    assert seen[0].dtype == torch.float32
    assert not torch.equal(seen[0], seen[1])


@pytest.mark.parametrize(
    "changes", [{"blocks": 1}, {"blocks": 4}, {"blocks": 4, "residual": True}, {"residual": True, "normalisation": "batch"}]
)
def test_first_weights_keep_the_size_of_what_passes(changes: dict[str, Any]) -> None:
    """Two images stay apart down to the coarsest level and up again without skips; PyTorch's usual first weights lose them."""
    network = unet(widths=(32, 64, 128), pooling="average", skips=False, **changes)
    apart: list[float] = []
    for stage in [*network.down, *network.up]:
        stage.register_forward_hook(lambda module, inputs, h: apart.append((h[0] - h[1]).square().mean().sqrt().item()))
    network(noise(2, 1, 4, 4).repeat_interleave(8, 2).repeat_interleave(8, 3), torch.full((2,), 0.5))
    assert all(0.01 < size < 10 for size in apart), apart


def test_a_residual_block_adds_to_its_input() -> None:
    """With the last convolution of each block at nothing, what is left is the input, fitted to the width once a level."""
    network = unet(blocks=3, residual=True)
    for stage in [*network.down, *network.up]:
        for block in stage.blocks:
            nn.init.zeros_(block.convolutions[-2].weight)
    seen: list[Tensor] = []
    network.down[0].register_forward_hook(lambda module, inputs, h: seen.extend([inputs[0], h]))
    network(noise(1, 1, 8, 8), torch.tensor([0.5]))
    fit = network.down[0].blocks[0].shortcut.weight[:, 0, 0, 0]
    torch.testing.assert_close(seen[1], fit[None, :, None, None] * seen[0])
    plain, residual = (parameters(unet(blocks=3, residual=choice)) for choice in (False, True))
    fits = sum(inputs * outputs + outputs for inputs, outputs in [(1, 8), (8, 16), (16, 32), (16, 8), (32, 16)])
    assert residual - plain == fits


def test_the_schedule_of_x0_makes_the_last_layer_estimate_x0() -> None:
    schedule = EDMSchedule(sigma_max=20.0)
    network = unet(x0_schedule=schedule)
    seen: list[Tensor] = []
    network.last.register_forward_hook(lambda module, inputs, output: seen.append(output))
    x0_hat = NetworkDenoiser(network, schedule=schedule)(5 * noise(2, 1, 8, 8), 0.7)
    torch.testing.assert_close(x0_hat, seen[0], atol=1e-4, rtol=1e-4)


def test_batch_norm_without_bias_divides_and_does_nothing_else() -> None:
    layer, h = BiasFreeBatchNorm(2, momentum=0.25), 3 + 2 * noise(5, 2, 4, 4)
    nn.init.constant_(layer.gain, 1.5)
    array = h.double().numpy()
    variance = array.var(axis=(0, 2, 3))
    expected = 1.5 * array / (variance[:, None, None] + 1e-5) ** 0.5
    torch.testing.assert_close(layer(h).double(), torch.from_numpy(expected), atol=1e-5, rtol=1e-5)
    running = 0.75 + 0.25 * torch.from_numpy(variance)  # from 1 at first
    torch.testing.assert_close(layer.running_var.double(), running, atol=1e-5, rtol=1e-5)
    layer.eval()
    expected = 1.5 * array / (running.numpy()[:, None, None] + 1e-5) ** 0.5
    torch.testing.assert_close(layer(h).double(), torch.from_numpy(expected), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(layer(-7 * h), -7 * layer(h))


def test_convolutions_before_a_normalisation_have_no_bias() -> None:
    for normalisation, biased in ((None, True), ("batch", False), ("batch without bias", False)):
        network = unet(normalisation=normalisation)
        convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d) and m is not network.last]
        assert {module.bias is not None for module in convolutions} == {biased}


def test_attention_is_the_softmax_written_out_and_starts_as_nothing() -> None:
    layer, h = SelfAttention(64).double(), noise(2, 64, 3, 4).double()
    assert torch.equal(layer(h), h)
    nn.init.normal_(layer.result.weight)
    tokens = layer.queries_keys_values(layer.normalisation(h)).flatten(2)  # (B, 3 x 64, pixels)
    queries, keys, values = tokens.split(64, dim=1)
    seen = torch.empty(2, 64, 12, dtype=torch.float64)
    for head in (slice(0, 32), slice(32, 64)):
        weights = torch.einsum("bcp,bcq->bpq", queries[:, head], keys[:, head]).div(32**0.5).softmax(2)
        seen[:, head] = torch.einsum("bpq,bcq->bcp", weights, values[:, head])
    expected = h + layer.result(seen.reshape(2, 64, 3, 4))
    torch.testing.assert_close(layer(h), expected, atol=1e-10, rtol=1e-10)


def test_with_attention_every_pixel_sees_the_whole_image() -> None:
    network = unet(attention=(2,), pooling="average")
    assert network.receptive_field == UNBOUNDED
    for module in network.modules():
        if isinstance(module, SelfAttention):
            nn.init.normal_(module.result.weight)
    assert seen_from(network, 0, 128) == 128


POOL = ImageSet(2 * torch.rand((7, 1, 8, 8), generator=torch.Generator().manual_seed(0)) - 1)
SETTINGS = TrainingSettings(steps=10, batch_size=5, learning_rate=1e-3, objective="log_mse")


class Stopped(Exception):
    pass


def stop_at_six(what: str, done: int, total: int) -> None:
    if done == 6:
        raise Stopped


@pytest.mark.parametrize("changes", VARIANTS, ids=str)
def test_a_stopped_training_ends_as_if_never_stopped(tmp_path: Path, changes: dict[str, Any]) -> None:
    """To the bit, the running statistics of batch normalisation among it."""
    whole, stopped, resumed = (unet(**{"widths": (4, 8, 8), "seed": seed, **changes}) for seed in (0, 0, 9))
    train(whole, POOL, CosineSchedule(), SETTINGS)
    with pytest.raises(Stopped):
        train(stopped, POOL, CosineSchedule(), SETTINGS, tmp_path, save_every=0.0, progress=stop_at_six)
    assert train(resumed, POOL, CosineSchedule(), SETTINGS, tmp_path).resumed_from == 6
    for (name, one), two in zip(whole.state_dict().items(), resumed.state_dict().values(), strict=True):
        assert torch.equal(one, two), name


@pytest.mark.parametrize("changes", VARIANTS, ids=str)
def test_a_saved_network_is_the_loaded_one(tmp_path: Path, changes: dict[str, Any]) -> None:
    network = unet(**changes)
    network.train()(noise(2, 1, 8, 8), torch.tensor([0.2, 0.9]))  # running statistics of its own
    save_network(tmp_path, network, CosineSchedule(), POOL)
    loaded, record = load_network(tmp_path)
    assert record.config == json.loads(json.dumps(network.config()))
    x, t = noise(2, 1, 8, 8, seed=2), torch.tensor([0.1, 0.8])
    assert torch.equal(loaded(x, t), network.eval()(x, t))


@pytest.mark.parametrize("changes", [{}, {"normalisation": "batch without bias"}, {"skips": False}])
def test_a_short_training_looks_beyond_a_pixel(changes: dict[str, Any]) -> None:
    """Images of one grey each: averaging over the image tells x0, to a 64th of the noise's variance."""
    greys = torch.linspace(-1, 1, 64)[:, None, None, None].expand(64, 1, 8, 8).contiguous()
    network = unet(x0_schedule=CosineSchedule(), **changes)
    settings = TrainingSettings(steps=300, batch_size=32, learning_rate=1e-3, objective="log_mse", precision="float32")
    train(network, ImageSet(greys), CosineSchedule(), settings)
    alpha, sigma = (float(scale) for scale in CosineSchedule()(0.4))
    x0_hat = NetworkDenoiser(network)(alpha * greys + sigma * noise(64, 1, 8, 8), 0.4)
    variance, noise_variance = float(greys.var()), (sigma / alpha) ** 2
    one_pixel_linearly = variance * noise_variance / (variance + noise_variance)
    assert (x0_hat - greys).square().mean() < 0.5 * one_pixel_linearly
