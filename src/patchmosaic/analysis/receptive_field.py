"""Where a network looks: how much each pixel of the noisy image moves one pixel of its answer, at each noise level.

    g(q) = mean over samples, channels c of the answer f and channels c' of the image of |d f_c(p) / d x_t,c'(q)|

by automatic differentiation. p is the centre of the image, f the network's x0_hat or eps_hat. Two numbers tell how wide g is:

    width    side of the smallest square round p that holds 90% of the sum of g, or another share of it; odd
    spread   (1 + 6 sum_q g(q) ‖q - p‖² / sum_q g(q))^½, the side of the square over which an even g has this second moment

Both are P where g is even over P x P pixels and 0 elsewhere. A network's receptive field is the width of the share 1 over all
inputs: what it can see. What it does look at shrinks with the noise, as the locality scale does (Kamb & Ganguli 2024,
section 5).

References:
    Luo, Li, Urtasun & Zemel 2016, "Understanding the effective receptive field in deep convolutional neural networks".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor, nn

from patchmosaic.denoisers import Denoiser, NetworkDenoiser
from patchmosaic.denoisers.base import per_sample
from patchmosaic.denoisers.posterior import PosteriorDenoiser
from patchmosaic.errors import CheckpointError, PatchMosaicError, ShapeError
from patchmosaic.progress import Progress, silent
from patchmosaic.sampling import ddim, seeds

Output = Literal["x0", "eps"]


@dataclass(frozen=True, eq=False)
class ReceptiveFields:
    """What one pixel of the answer depends on, at increasing noise levels.

    Attributes:
        times: of the schedule, increasing.
        noise_levels: sigma_t / alpha_t at these times.
        heat: (levels, H, W) the g(q) above, at least 0.
        pixel: (row, column) of p.
        output: what was differentiated, "x0" or "eps".
        samples: how many noisy images the means are over.
    """

    times: tuple[float, ...]
    noise_levels: tuple[float, ...]
    heat: Float64[Tensor, "levels H W"]
    pixel: tuple[int, int]
    output: Output
    samples: int

    def shares(self) -> Float64[Tensor, "levels H W"]:
        """g as a share of its sum; 0 where nothing is seen at all."""
        return (self.heat / self.heat.sum((1, 2), keepdim=True)).nan_to_num(nan=0.0)

    def widths(self, share: float = 0.9) -> tuple[int, ...]:
        """At each level the odd side of the smallest square round the pixel that holds `share` of g; 0 where g is 0.

        Raises:
            PatchMosaicError: a share outside (0, 1].
        """
        if not 0 < share <= 1:
            raise PatchMosaicError("a share lies in (0, 1]", got=share)
        rows, columns = self._offsets()
        distance = torch.maximum(rows.abs(), columns.abs()).flatten()  # in squares round the pixel
        widths = []
        for heat in self.heat.flatten(1):
            held = torch.bincount(distance, weights=heat).cumsum(0)
            widths.append(2 * int(torch.searchsorted(held, share * held[-1])) + 1 if held[-1] > 0 else 0)
        return tuple(widths)

    def spreads(self) -> tuple[float, ...]:
        """At each level the side of the square that has the second moment of g if g is even over it; 0 where g is 0."""
        rows, columns = self._offsets()
        moments = (self.shares() * (rows**2 + columns**2)).sum((1, 2))
        seen = self.heat.sum((1, 2)) > 0
        return tuple(torch.where(seen, (1 + 6 * moments).sqrt(), 0.0).tolist())

    def _offsets(self) -> tuple[Int64[Tensor, "H 1"], Int64[Tensor, "1 W"]]:
        height, width = self.heat.shape[1:]
        return torch.arange(height)[:, None] - self.pixel[0], torch.arange(width)[None] - self.pixel[1]

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary from which `from_json` rebuilds it; widths and spreads are there to be read."""
        return {
            "output": self.output,
            "pixel": list(self.pixel),
            "samples": self.samples,
            "times": list(self.times),
            "noise_levels": list(self.noise_levels),
            "widths": list(self.widths()),
            "spreads": list(self.spreads()),
            "heat": self.heat.tolist(),
        }

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> ReceptiveFields:
        """Rebuild what `to_json` described.

        Raises:
            CheckpointError: the record does not describe receptive fields.
        """
        try:
            row, column = record["pixel"]
            heat = torch.tensor(record["heat"], dtype=torch.float64)
            times, levels = tuple(record["times"]), tuple(record["noise_levels"])
            return cls(times, levels, heat, (row, column), record["output"], record["samples"])
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError("not the record of receptive fields", got=str(record)[:80]) from error


def receptive_fields(
    network: Denoiser | nn.Module,
    images: Float[Tensor, "B C H W"],
    times: Sequence[float],
    labels: Int64[Tensor, " B"] | None = None,
    *,
    output: Output = "x0",
    pixel: tuple[int, int] | None = None,
    seed: int = 0,
    batch_size: int = 32,
    progress: Progress = silent,
) -> ReceptiveFields:
    """Where a network looks in noisy versions of real images.

    Args:
        network: a denoiser that torch can differentiate, such as a `NetworkDenoiser` or a linear one; or a module, which is
            taken to predict eps on the cosine schedule.
        images: clean, in [-1, 1]; each is seen at every time, under the same noise.
        times: in (0, 1], in any order.
        labels: the class of each image, where the network has classes.
        output: the estimate that is differentiated. That of eps depends at high noise on little but the pixel itself.
        pixel: (row, column) of the answer; (H // 2, W // 2) by default. A UNet's pixels see farther or less far by their place
            among its strides.
        seed: of the noise: the stream of `patchmosaic.seeds`.
        batch_size: images differentiated at once; does not change the result.
        progress: called with the noisy images done.

    Raises:
        PatchMosaicError: no image or time, an unknown output, or a denoiser that cannot be differentiated.
        ShapeError: the pixel is outside the image, or what the network says of the images.
        LabelError: labels are missing, or not wanted.
        NoiseLevelError: a time outside (0, 1], or one at which the network determines no x0.
    """
    denoiser = _checked_denoiser(network, output)
    ordered = sorted(float(t) for t in times)
    if not ordered or len(images) == 0:
        raise PatchMosaicError("there must be an image and a time", got=f"{len(images)} images, {len(ordered)} times")
    place = _checked_pixel(pixel, images)
    noise = seeds(len(images), images.shape[1:], seed).to(images)
    heat = []
    for t in ordered:
        alpha, sigma = (per_sample(scale[None], images) for scale in denoiser.schedule(t))
        heat.append(_heat(denoiser, alpha * images + sigma * noise, t, labels, output, place, batch_size))
        progress("receptive fields", len(heat) * len(images), len(ordered) * len(images))
    return _fields(denoiser, ordered, heat, place, output, len(images))


def receptive_fields_along(
    network: Denoiser | nn.Module,
    x_T: Float[Tensor, "B C H W"],
    steps: int = 20,
    labels: Int64[Tensor, " B"] | None = None,
    *,
    output: Output = "x0",
    pixel: tuple[int, int] | None = None,
    batch_size: int = 32,
    progress: Progress = silent,
) -> ReceptiveFields:
    """Where a network looks while it draws: at every step of its DDIM trajectories from `x_T`, such as `seeds(n, shape)`.

    Arguments and errors as for `receptive_fields` and `patchmosaic.ddim`.
    """
    denoiser = _checked_denoiser(network, output)
    place = _checked_pixel(pixel, x_T)
    times, heat = [], []
    for step in ddim(denoiser, x_T, steps, labels):
        times.append(step.t)
        heat.append(_heat(denoiser, step.x_t, step.t, labels, output, place, batch_size))
        progress("receptive fields", len(heat) * len(x_T), steps * len(x_T))
    return _fields(denoiser, times[::-1], heat[::-1], place, output, len(x_T))


def _heat(
    denoiser: Denoiser,
    x_t: Tensor,
    t: float,
    labels: Tensor | None,
    output: Output,
    pixel: tuple[int, int],
    batch_size: int,
) -> Float64[Tensor, "H W"]:
    """g at one noise level. Samples do not see each other: one pass back serves a batch, for each channel of the answer."""
    total = torch.zeros(x_t.shape[2:], dtype=torch.float64)
    for start in range(0, len(x_t), batch_size):
        batch = x_t[start : start + batch_size].detach().requires_grad_()
        label = None if labels is None else labels[start : start + batch_size].to(batch.device)
        answer = denoiser(batch, t, label) if output == "x0" else denoiser.eps(batch, t, label)
        if not answer.requires_grad:
            raise PatchMosaicError("torch cannot differentiate this denoiser", got=type(denoiser).__name__)
        for values in answer[:, :, *pixel].sum(0):
            (gradient,) = torch.autograd.grad(values, batch, retain_graph=True)
            total += gradient.abs().double().sum((0, 1)).cpu()
    return total / (len(x_t) * x_t.shape[1] ** 2)


def _checked_denoiser(network: Denoiser | nn.Module, output: Output) -> Denoiser:
    if isinstance(network, PosteriorDenoiser):
        raise PatchMosaicError(
            "torch cannot differentiate the machines", got=type(network).__name__, hint="They see their patch_size, no more."
        )
    if output not in get_args(Output):
        raise PatchMosaicError(f"output must be one of {', '.join(get_args(Output))}", got=repr(output))
    return network if isinstance(network, Denoiser) else NetworkDenoiser(network)


def _checked_pixel(pixel: tuple[int, int] | None, images: Tensor) -> tuple[int, int]:
    height, width = images.shape[2:]
    row, column = (height // 2, width // 2) if pixel is None else pixel
    if not (0 <= row < height and 0 <= column < width):
        raise ShapeError(f"the pixel must lie in the image of {height}x{width}", got=(row, column))
    return row, column


def _fields(
    denoiser: Denoiser, times: Sequence[float], heat: Sequence[Tensor], pixel: tuple[int, int], output: Output, samples: int
) -> ReceptiveFields:
    levels = tuple(denoiser.schedule.noise_level(torch.tensor(times, dtype=torch.float64)).tolist())
    return ReceptiveFields(tuple(times), levels, torch.stack(list(heat)), pixel, output, samples)
