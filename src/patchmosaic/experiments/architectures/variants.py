"""The rows of the architecture study: what each is, and how large the study is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from patchmosaic.data.imageset import ImageSet
from patchmosaic.denoisers import Denoiser, IdealDenoiser, WienerDenoiser
from patchmosaic.errors import PatchMosaicError
from patchmosaic.networks import MLP, Network, TrainingSettings, UNet
from patchmosaic.noise import CosineSchedule, NoiseSchedule

SCHEDULE = CosineSchedule()
BASE, REFERENCE = "base", "closed form"  # factors
Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Scale:
    """How large a study is.

    Attributes:
        width: channels of the base UNet's finest level.
        mlp_widths: of the hidden layers of the MLPs; the last is that of the autoencoder's encoder and decoder.
        images: at most so many in each half.
        held_out: at most so many images that no network sees, and at most a fifth of all.
        seeds: samples of each network.
        steps, batch_size, learning_rate: of the training, which weighs all noise levels alike.
    """

    width: int = 16
    mlp_widths: tuple[int, int, int] = (64, 256, 1024)
    images: int = 2000
    held_out: int = 1000
    seeds: int = 128
    steps: int = 2500
    batch_size: int = 32
    learning_rate: float = 1e-3

    def settings(self) -> TrainingSettings:
        """The training of every network."""
        return TrainingSettings(self.steps, self.batch_size, self.learning_rate, objective="log_mse")


SCALES = {
    "cpu": Scale(),
    "full": Scale(64, (256, 1024, 4096), images=25_000, held_out=5000, seeds=512, steps=30_000, batch_size=128),
}


@dataclass(frozen=True)
class Variant:
    """One row of the study.

    Attributes:
        factor: what differs from the base; with `name` the variant's own word for it.
        network: image shape -> a new network; None for a closed form, which is made from the images by `closed_form`.
    """

    factor: str
    name: str
    network: Callable[[Shape], Network] | None = None
    closed_form: Callable[[ImageSet, NoiseSchedule], Denoiser] | None = None

    @property
    def title(self) -> str:
        """The name by which tables and pictures call it."""
        return self.name if self.factor in (BASE, REFERENCE) else f"{self.factor}: {self.name}"


def variants(scale: Scale) -> list[Variant]:
    """The recipes, the base first."""
    base: dict[str, Any] = {"pooling": "average", "x0_schedule": SCHEDULE}

    def unet(width: int = scale.width, **changes: Any) -> Callable[[Shape], Network]:
        return lambda shape: UNet(shape[0], (width, 2 * width, 4 * width), **(base | changes))

    def mlp(*widths: int) -> Callable[[Shape], Network]:
        return lambda shape: MLP(shape, widths, schedule=SCHEDULE)

    wide = scale.mlp_widths[-1]
    return [
        Variant(BASE, "base UNet", unet()),
        Variant("padding", "circular", unet(padding="circular")),
        Variant("normalisation", "batch", unet(normalisation="batch")),
        Variant("normalisation", "batch, bias-free", unet(normalisation="batch without bias")),
        Variant("skips", "none", unet(skips=False)),
        Variant("pooling", "max", unet(pooling="max")),
        *(Variant("blocks", str(blocks), unet(blocks=blocks)) for blocks in (2, 3, 4)),
        *(Variant("width", str(width), unet(width)) for width in (scale.width // 2, 2 * scale.width)),
        *(Variant("MLP", f"width {width}", mlp(width, width, width)) for width in scale.mlp_widths),
        Variant("MLP", "code of 8", mlp(wide, 8, wide)),
        Variant(REFERENCE, "IS, copies", closed_form=lambda pool, schedule: IdealDenoiser(pool, schedule=schedule)),
        Variant(REFERENCE, "Wiener, linear", closed_form=lambda pool, schedule: WienerDenoiser(pool, schedule=schedule)),
    ]


def chosen(scale: Scale, names: Sequence[str] | None) -> list[Variant]:
    """The variants of these titles, and the base; all where `names` is None. Else PatchMosaicError."""
    known = variants(scale)
    if unknown := set(names or ()) - {variant.title for variant in known}:
        titles = ", ".join(repr(variant.title) for variant in known)
        raise PatchMosaicError("no such variant", got=", ".join(map(repr, sorted(unknown))), hint=f"Known: {titles}.")
    return [variant for variant in known if names is None or variant.factor == BASE or variant.title in names]
