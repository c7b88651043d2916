"""Networks by name, at the paper's size and at one that two cores can train.

    resnet           width channels at full resolution, depth residual blocks
    unet             levels of width, 2 width and 4 width channels, depth blocks each
    attention-unet   levels of width and thrice 2 width, depth residual blocks each; attention where the image is 8 to 32 pixels
                     across: at 64 channels and three blocks the paper's UNet+SA
    mlp              depth hidden layers of width numbers each

Kamb & Ganguli 2024 and, for attention, its appendix, which gives no more of UNet+SA than these numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from patchmosaic.errors import PatchMosaicError
from patchmosaic.networks.base import Network, Padding
from patchmosaic.networks.mlp import MLP
from patchmosaic.networks.resnet import ResNet
from patchmosaic.networks.unet import UNet

Shape = tuple[int, int, int]
ATTENDED = range(8, 33)  # pixels across


@dataclass(frozen=True)
class Preset:
    """A named network.

    Attributes:
        build: (image shape, width, depth, other arguments of the class) -> a new network.
        sizes: (width, depth) by recipe.
    """

    build: Callable[..., Network]
    sizes: dict[str, tuple[int, int]]


def _resnet(shape: Shape, width: int, depth: int, **others: Any) -> ResNet:
    return ResNet(shape[0], width, depth, **others)


def _unet(shape: Shape, width: int, depth: int, **others: Any) -> UNet:
    return UNet(shape[0], (width, 2 * width, 4 * width), depth, **others)


def _attention_unet(shape: Shape, width: int, depth: int, **others: Any) -> UNet:
    widths = (width, 2 * width, 2 * width, 2 * width)
    attended = [level for level in range(len(widths)) if min(shape[1:]) >> level in ATTENDED]
    return UNet(shape[0], widths, depth, attention=attended or (len(widths) - 1,), residual=True, **others)


def _mlp(shape: Shape, width: int, depth: int, **others: Any) -> MLP:
    return MLP(shape, (width,) * depth, **others)


PRESETS = {
    "resnet": Preset(_resnet, {"cpu": (64, 6), "paper": (256, 6)}),
    "unet": Preset(_unet, {"cpu": (32, 1), "paper": (64, 1)}),
    "attention-unet": Preset(_attention_unet, {"cpu": (32, 1), "paper": (64, 3)}),
    "mlp": Preset(_mlp, {"cpu": (512, 3)}),
}


def preset_network(
    architecture: str,
    image_shape: Shape,
    *,
    recipe: str = "cpu",
    width: int | None = None,
    depth: int | None = None,
    padding: Padding = "zeros",
    num_classes: int | None = None,
    seed: int = 0,
) -> Network:
    """A new network for images (C, H, W).

    Args:
        architecture: one of `PRESETS`.
        recipe: whose width and depth it has, where none are given.
        padding: what convolutions see outside the image.
        num_classes, seed: as for the network itself.

    Raises:
        PatchMosaicError: no such network, at this size or at all, or padding for one without convolutions.
        ShapeError: a width or depth that makes no network, or images that it cannot take.
    """
    check_preset(architecture, recipe, padding)
    preset = PRESETS[architecture]
    usual_width, usual_depth = preset.sizes[recipe]
    others: dict[str, Any] = {} if architecture == "mlp" else {"padding": padding}
    network = preset.build(
        image_shape, width or usual_width, depth or usual_depth, num_classes=num_classes, seed=seed, **others
    )
    if isinstance(network, UNet):
        network.check_sides(*image_shape[1:])
    return network


def check_preset(architecture: str, recipe: str, padding: str) -> None:
    """That there is such a network, which can be told before there are images; else PatchMosaicError."""
    if architecture not in PRESETS:
        raise PatchMosaicError("no such network", got=repr(architecture), hint=f"Known: {', '.join(PRESETS)}.")
    sizes = PRESETS[architecture].sizes
    if recipe not in sizes:
        raise PatchMosaicError(
            f"there is no {architecture} of this recipe", got=repr(recipe), hint=f"Known: {', '.join(sizes)}."
        )
    if architecture == "mlp" and padding != "zeros":
        raise PatchMosaicError("an mlp has no convolutions to pad", got=f"{padding} padding", hint="Leave the padding out.")
