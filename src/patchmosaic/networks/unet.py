"""The UNet of both papers: one class, at its defaults the one whose samples are predicted, with a knob for each variant.

    block(h)  = (ReLU conv)² (h + e),    e = Linear(ReLU(emb(t, c))), one number a channel
    down:  h_i = blocks(pool(h_{i-1}))   i = 0 ... L-1, without pool at i = 0
    up:    h  <- blocks([h_i, convT(h)]) i = L-2 ... 0
    eps_hat = conv(h + e_last)

Pooling halves the image, the transposed convolution of stride 2 doubles it, [,] joins channels. With widths 64, 128 and 256,
three channels and ten classes it has 2,032,326 parameters and a pixel sees 44 x 44 or, by its place among the strides, 48 of
its neighbours a side (Kamb & Ganguli 2024). The knobs are those of the study of Levine & Weiss 2026: width, blocks a level,
padding, normalisation with and without bias, skips, pooling. They train a network for each noise level; here, as in the first
paper, one network that is told t serves all. Self-attention at chosen levels lets every pixel see the whole image; with
residual blocks too, it is the first paper's UNet+SA (presets.py).

References:
    Ronneberger, Fischer & Brox 2015, "U-Net: convolutional networks for biomedical image segmentation".
    He, Zhang, Ren & Sun 2015, "Delving deep into rectifiers", section 2.2, for the first weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn.functional import relu

from patchmosaic.errors import PatchMosaicError, ShapeError
from patchmosaic.networks.base import Network, Padding, seeded_weights
from patchmosaic.networks.embedding import Embedding
from patchmosaic.networks.layers import BiasFreeBatchNorm, SelfAttention
from patchmosaic.networks.x0 import as_schedule, implied_eps
from patchmosaic.noise import NoiseSchedule

Normalisation = Literal["batch", "batch without bias"]
Pooling = Literal["max", "average", "convolution"]
UNBOUNDED = 2**31 - 1  # the receptive field of a network that sees the whole image, whatever its size
FIRST_GAIN = 0.1


class UNet(Network):
    """eps_hat = unet(x_t, t, label), for images whose sides are multiples of 2^(levels - 1).

    Args:
        channels: C of the images.
        widths: channels of each level, from full resolution down; as many levels as numbers.
        blocks: blocks a level, on the way down and on the way up.
        padding: "zeros", or "circular" for a network that commutes with shifts by multiples of 2^(levels - 1).
        normalisation: after each convolution but the last: none; "batch"; or "batch without bias", which divides by the
            standard deviation but neither subtracts a mean nor adds one. Convolutions before either have no bias of their own.
        skips: join each level on the way down to the same level on the way up.
        pooling: "max" or "average" of 2 x 2 pixels, or a "convolution" of 2 x 2 with stride 2.
        attention: levels, 0 the finest, after whose blocks every pixel attends to every other.
        num_classes: labels run from 0 to num_classes - 1; None for an unconditional network.
        embedding_width: numbers in the embedding of (t, label); 256 in the paper at every width.
        x0_schedule: None for layers that estimate eps; the schedule of its training, or the schedule's description, for layers
            that estimate x0, from which the network then computes the eps that it returns.
        residual: what a block computes is added to its input.
        seed: of the first weights.

    Raises:
        ShapeError: a size that is not positive, or attention at a level that is not there.
        LabelError: less than one class.
        PatchMosaicError: an unknown padding, normalisation, pooling or schedule.
    """

    def __init__(
        self,
        channels: int,
        widths: Sequence[int] = (64, 128, 256),
        blocks: int = 1,
        padding: Padding = "zeros",
        normalisation: Normalisation | None = None,
        skips: bool = True,
        pooling: Pooling = "max",
        attention: Sequence[int] = (),
        num_classes: int | None = None,
        embedding_width: int = 256,
        x0_schedule: NoiseSchedule | Mapping[str, Any] | None = None,
        residual: bool = False,
        *,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if channels < 1 or blocks < 1 or not widths or min(widths) < 1:
            raise ShapeError(
                "a UNet has at least one channel, one block and one level, each of at least one channel",
                got=f"channels={channels}, blocks={blocks}, widths={tuple(widths)}",
            )
        if not set(attention) <= set(range(len(widths))):
            raise ShapeError(f"attention must name levels from 0 to {len(widths) - 1}", got=tuple(attention))
        for name, value, known in (
            ("padding", padding, ("zeros", "circular")),
            ("normalisation", normalisation, (None, "batch", "batch without bias")),
            ("pooling", pooling, ("max", "average", "convolution")),
        ):
            if value not in known:
                raise PatchMosaicError(f"{name} must be one of {', '.join(map(repr, known))}", got=repr(value))
        self.channels, self.widths, self.blocks, self.padding = channels, tuple(widths), blocks, padding
        self.normalisation, self.skips, self.pooling = normalisation, skips, pooling
        self.attention, self.num_classes = tuple(attention), num_classes
        self.x0_schedule = None if x0_schedule is None else as_schedule(x0_schedule)
        self.estimates_x0, self.residual = x0_schedule is not None, residual
        block = _ResidualBlock if residual else _Block

        def stage(inputs: int, level: int) -> _Stage:
            first = [inputs] + [widths[level]] * (blocks - 1)
            parts = [block(width, widths[level], embedding_width, padding, normalisation) for width in first]
            return _Stage(parts, SelfAttention(widths[level]) if level in attention else nn.Identity())

        finer = range(len(widths) - 1)
        with seeded_weights(seed):
            self.embedding = Embedding(embedding_width, num_classes)
            self.down = nn.ModuleList(stage((channels, *widths)[level], level) for level in range(len(widths)))
            self.pools = nn.ModuleList(_pool(pooling, widths[level]) for level in finer)
            self.widen = nn.ModuleList(nn.ConvTranspose2d(widths[level + 1], widths[level], 2, 2) for level in finer)
            self.up = nn.ModuleList(stage(widths[level] * (1 + skips), level) for level in finer)
            self.shift = nn.Linear(embedding_width, widths[0])
            self.last = nn.Conv2d(widths[0], channels, 3, padding=1, padding_mode=padding)
            self._start_well()

    def _start_well(self) -> None:
        """Convolutions that keep the size of what passes (He et al. 2015), and small shifts of time and class.

        With PyTorch's usual first weights what passes shrinks to a third or less at each convolution: with four blocks a level
        of widths 16, 32 and 64, 400 steps on Fashion-MNIST at 16 x 16 end at the loss of knowing nothing, 1.00; so, at 0.24.
        """
        with torch.no_grad():
            for module in self.modules():
                if isinstance(module, nn.Linear):
                    module.weight.mul_(FIRST_GAIN)
                    module.bias.mul_(FIRST_GAIN)
                elif isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3):
                    nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                elif isinstance(module, nn.ConvTranspose2d):
                    module.weight.normal_(std=module.in_channels**-0.5)  # each output is reached by one pixel of each channel
                if isinstance(module, nn.Conv2d | nn.ConvTranspose2d) and module.bias is not None:
                    module.bias.zero_()
            self.last.weight.mul_(FIRST_GAIN)
            for residual in (module for module in self.modules() if isinstance(module, _ResidualBlock)):
                residual.start_near_the_identity()

    def forward(
        self, x_t: Float[Tensor, "B C H W"], t: Float[Tensor, " B"], label: Int64[Tensor, " B"] | None = None
    ) -> Float[Tensor, "B C H W"]:
        """eps_hat, shaped like `x_t`.

        Raises:
            ShapeError: the images have other channels or sides that the strides do not divide, or `t` is not one time a sample.
            LabelError: a label is missing, not wanted, or of no class.
        """
        self.check_inputs(x_t, t, label)
        self.check_sides(x_t.shape[2], x_t.shape[3])
        # bfloat16 cannot tell t = 0.5 from 0.502, so under autocast the path of t stays in the weights' own precision.
        with torch.autocast(x_t.device.type, enabled=False):
            e = relu(self.embedding(t, label))
        h, kept = self.down[0](x_t, e), []
        for pool, stage in zip(self.pools, list(self.down)[1:], strict=True):
            kept.append(h)
            h = stage(pool(h), e)
        for level in reversed(range(len(kept))):
            h = self.widen[level](h)
            h = self.up[level](torch.cat([kept[level], h], dim=1) if self.skips else h, e)
        output: Tensor = self.last(_shifted(h, self.shift, e))
        return output if self.x0_schedule is None else implied_eps(output, x_t, t, self.x0_schedule)

    def check_sides(self, height: int, width: int) -> None:
        """Refuse images whose sides the strides do not divide, by a ShapeError."""
        if height % self.stride or width % self.stride:
            raise ShapeError(
                f"a UNet of {len(self.widths)} levels takes images whose sides are multiples of {self.stride}",
                got=f"{height}x{width}",
                hint="Resize or pad them, or use fewer levels.",
            )

    @property
    def stride(self) -> int:
        """Pixels a side that one pixel of the coarsest level stands for."""
        return int(2 ** (len(self.widths) - 1))

    @property
    def receptive_field(self) -> int:
        """The largest of all places: 48 at the defaults, where pixels 0 and 3 of every four see 44. With attention no bound."""
        return UNBOUNDED if self.attention else max(self._seen_from(place) for place in range(self.stride))

    def _seen_from(self, place: int) -> int:
        """How many pixels a side `place` depends on: the interval, followed back to the coarsest level and on to the input."""
        first, last, reach = place - 1, place + 1, 2 * self.blocks
        for _ in self.pools:
            first, last = (first - reach) // 2, (last + reach) // 2
        first, last = first - reach, last + reach
        for _ in self.pools:
            first, last = 2 * first - reach, 2 * last + 1 + reach
        return last - first + 1

    def config(self) -> dict[str, Any]:
        """The keyword arguments of the constructor, but for the seed."""
        config = {
            "channels": self.channels,
            "widths": list(self.widths),
            "blocks": self.blocks,
            "padding": self.padding,
            "normalisation": self.normalisation,
            "skips": self.skips,
            "pooling": self.pooling,
            "attention": list(self.attention),
            "num_classes": self.num_classes,
            "embedding_width": self.embedding.width,
            "x0_schedule": None if self.x0_schedule is None else self.x0_schedule.to_json(),
        }
        return config | ({"residual": True} if self.residual else {})  # as networks were described before there was a choice


class _Stage(nn.Module):
    """The blocks of a level, and what follows them."""

    def __init__(self, blocks: list[_Block], after: nn.Module) -> None:
        super().__init__()
        self.blocks, self.after = nn.ModuleList(blocks), after

    def forward(self, h: Tensor, e: Tensor) -> Tensor:
        for block in self.blocks:
            h = block(h, e)
        return cast(Tensor, self.after(h))


class _Block(nn.Module):
    """h + Linear(e), then twice: convolution, normalisation, ReLU."""

    def __init__(
        self, inputs: int, outputs: int, embedding_width: int, padding: Padding, normalisation: Normalisation | None
    ) -> None:
        super().__init__()
        self.shift = nn.Linear(embedding_width, inputs)
        parts: list[nn.Module] = []
        for width in (inputs, outputs):
            parts.append(nn.Conv2d(width, outputs, 3, padding=1, padding_mode=padding, bias=normalisation is None))
            parts += [] if normalisation is None else [_NORMALISATIONS[normalisation](outputs)]
            parts.append(nn.ReLU())
        self.convolutions = nn.Sequential(*parts)

    def forward(self, h: Tensor, e: Tensor) -> Tensor:
        return cast(Tensor, self.convolutions(_shifted(h, self.shift, e)))


class _ResidualBlock(_Block):
    """What a block computes, added to its input; where the widths differ, a map of each pixel's channels fits the input."""

    def __init__(
        self, inputs: int, outputs: int, embedding_width: int, padding: Padding, normalisation: Normalisation | None
    ) -> None:
        super().__init__(inputs, outputs, embedding_width, padding, normalisation)
        self.shortcut = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)

    def start_near_the_identity(self) -> None:
        """A shortcut that keeps the size of what passes, and little added to it: many blocks then keep it too."""
        if isinstance(self.shortcut, nn.Conv2d):
            nn.init.kaiming_normal_(self.shortcut.weight, nonlinearity="linear")
        next(self.convolutions[-2].parameters()).mul_(FIRST_GAIN)  # the gain of the last convolution, or of what normalises it

    def forward(self, h: Tensor, e: Tensor) -> Tensor:
        return cast(Tensor, self.shortcut(h) + super().forward(h, e))


def _shifted(h: Tensor, shift: nn.Module, e: Tensor) -> Tensor:
    with torch.autocast(h.device.type, enabled=False):
        by: Tensor = shift(e)[:, :, None, None]
    return h + by.to(h.dtype)


_NORMALISATIONS: dict[Normalisation, type[nn.Module]] = {"batch": nn.BatchNorm2d, "batch without bias": BiasFreeBatchNorm}


def _pool(kind: Pooling, width: int) -> nn.Module:
    match kind:
        case "max":
            return nn.MaxPool2d(2)
        case "average":
            return nn.AvgPool2d(2)
        case "convolution":
            return nn.Conv2d(width, width, 2, 2)
