import pytest
import torch
from jaxtyping import TypeCheckError
from torch import Tensor

from patchmosaic.errors import LabelError, PatchMosaicError, ShapeError
from patchmosaic.networks import ResNet


def noise(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_the_papers_network_has_its_4_021_251_parameters() -> None:
    network = ResNet(channels=3, width=256, depth=6, num_classes=10)
    assert sum(parameter.numel() for parameter in network.parameters()) == 4_021_251


def test_a_class_costs_one_embedding() -> None:
    counts = [sum(p.numel() for p in ResNet(1, 16, 1, num_classes=n).parameters()) for n in (None, 1, 7)]
    assert [count - counts[0] for count in counts] == [0, 256, 7 * 256]


@pytest.mark.parametrize(("depth", "side"), [(6, 17), (2, 9)])
def test_the_centre_depends_on_exactly_its_receptive_field(depth: int, side: int) -> None:
    network = ResNet(1, width=32, depth=depth).double()
    assert network.receptive_field == side
    x = noise(1, 1, 31, 31).double().requires_grad_()
    network(x, torch.tensor([0.5], dtype=torch.float64))[0, 0, 15, 15].backward()
    assert x.grad is not None
    rows, columns = (x.grad[0, 0] != 0).nonzero().unbind(1)
    radius = side // 2
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (15 - radius, 15 + radius, 15 - radius, 15 + radius)
    assert len(rows) == side * side


def shift_error(network: ResNet) -> float:
    x, t = noise(2, 3, 12, 10), torch.tensor([0.2, 0.9])
    with torch.inference_mode():
        rolled = network(x.roll((5, -3), dims=(2, 3)), t)
        return (rolled - network(x, t).roll((5, -3), dims=(2, 3))).abs().max().item()


def test_circular_padding_commutes_with_shifts_and_zero_padding_does_not() -> None:
    assert shift_error(ResNet(3, 16, 6, padding="circular")) < 1e-5
    assert shift_error(ResNet(3, 16, 6, padding="zeros")) > 1e-3


def test_memory_layout_changes_nothing() -> None:
    for padding in ("zeros", "circular"):
        network = ResNet(3, 16, 2, padding=padding)
        x, t = noise(2, 3, 9, 9), torch.tensor([0.2, 0.9])
        plain = network(x, t)
        network.to(memory_format=torch.channels_last)
        torch.testing.assert_close(network(x.contiguous(memory_format=torch.channels_last), t), plain, atol=1e-5, rtol=1e-5)


def test_time_reaches_the_output_and_samples_do_not_mix() -> None:
    network = ResNet(1, 16, 2)
    x, t = noise(3, 1, 8, 8), torch.tensor([0.1, 0.5, 1.0])
    together = network(x, t)
    for i in range(3):
        torch.testing.assert_close(network(x[i : i + 1], t[i : i + 1])[0], together[i], atol=1e-5, rtol=1e-5)
    assert (network(x, t.flip(0))[0] - together[0]).abs().max() > 1e-4


def test_autocast_does_not_round_time() -> None:
    network = ResNet(1, 16, 2)
    x, t = noise(1, 1, 8, 8), torch.tensor([0.500])
    near = torch.tensor([0.5005])  # equal to t in bfloat16
    assert t.bfloat16() == near.bfloat16()
    seen: list[Tensor] = []
    network.shifts[0].register_forward_hook(lambda module, inputs, output: seen.append(output))
    with torch.autocast("cpu", torch.bfloat16):
        network(x, t)
        network(x, near)
    assert seen[0].dtype == torch.float32
    assert not torch.equal(seen[0], seen[1])


def test_the_label_changes_the_output() -> None:
    network = ResNet(1, 16, 2, num_classes=2)
    x, t = noise(1, 1, 8, 8), torch.tensor([0.5])
    assert (network(x, t, torch.tensor([0])) - network(x, t, torch.tensor([1]))).abs().max() > 1e-4


@pytest.mark.parametrize(
    ("label", "message"),
    [
        (None, "class-conditional, got no label. Give labels from 0 to 2"),
        (torch.tensor([0, 3]), "0 to 2, got 0 to 3"),
        (torch.tensor([-1, 0]), "0 to 2, got -1 to 0"),
    ],
)
def test_labels_that_name_no_class_are_refused(label: Tensor | None, message: str) -> None:
    with pytest.raises(LabelError, match=message):
        ResNet(1, 16, 1, num_classes=3)(noise(2, 1, 8, 8), torch.tensor([0.5, 0.5]), label)


def test_an_unconditional_network_takes_no_label() -> None:
    with pytest.raises(LabelError, match="unconditional"):
        ResNet(1, 16, 1)(noise(1, 1, 8, 8), torch.tensor([0.5]), torch.tensor([0]))


def test_images_of_other_channels_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"\(B, 3, H, W\), got \(1, 1, 8, 8\)"):
        ResNet(3, 16, 1)(noise(1, 1, 8, 8), torch.tensor([0.5]))


def test_sizes_and_padding_that_make_no_network_are_refused() -> None:
    with pytest.raises(ShapeError, match="multiple of 8 from 16 on, got 12"):
        ResNet(1, width=12)
    with pytest.raises(ShapeError, match="got 8"):
        ResNet(1, width=8)  # one channel a group: its normalisation would erase t
    with pytest.raises(ShapeError, match="depth=0"):
        ResNet(1, depth=0)
    # Where annotations are checked at run time, an unknown padding is refused before our own check sees it.
    with pytest.raises((PatchMosaicError, TypeCheckError), match="circular"):
        ResNet(1, padding="reflect")  # type: ignore[arg-type]


def test_seed_decides_the_weights_and_the_global_state_is_left_alone() -> None:
    before = torch.get_rng_state()
    first, again, other = ResNet(1, 16, 1, seed=3), ResNet(1, 16, 1, seed=3), ResNet(1, 16, 1, seed=4)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first.first.weight, again.first.weight)
    assert not torch.equal(first.first.weight, other.first.weight)


def test_config_rebuilds_the_same_layout() -> None:
    network = ResNet(2, 16, 3, "circular", num_classes=4, embedding_width=12)
    rebuilt = ResNet(**network.config())
    rebuilt.load_state_dict(network.state_dict())
    x, t, label = noise(2, 2, 8, 8), torch.tensor([0.2, 0.4]), torch.tensor([3, 0])
    assert torch.equal(rebuilt(x, t, label), network(x, t, label))
