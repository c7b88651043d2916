"""Provenance: for every pixel, which training images and patches its value is the mean of, and how sure it is of them.

    x0_hat(p) = sum_j w_j(p) phi_j,    w(p) = softmax_j(-gamma/2 ‖y - phi_j‖²_window),    y = x_t / alpha_t

The posterior weights w are the pixel's *belief* over training patches. In the pass that computes x0_hat they are also counted:
the likeliest are remembered with their places, and the entropy and effective numbers are those of the whole belief, not of the
remembered part.

References:
    Kamb & Ganguli 2024, sections 3 and 4 (the belief of each pixel); Hunt, Kamb & Ganguli 2026 (its entropy).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from patchmosaic.data.imageset import ImageSet
from patchmosaic.denoisers.base import Denoiser
from patchmosaic.denoisers.patch import PatchDenoiser
from patchmosaic.denoisers.posterior import PosteriorDenoiser
from patchmosaic.engine.belief import TracedSum, traced_footprint
from patchmosaic.errors import PatchMosaicError, ShapeError


@dataclass(frozen=True, eq=False)
class Provenance:
    """The beliefs of the pixels of B images over the training patches that they may match.

    Attributes:
        pool: the training images; those of `image` are its.
        t: the time.
        patch_size: the window of each pixel at this time; None where the machine sees otherwise.
        torus: whether windows go round the edges, as those of ELS and ES do.
        x_t: (B, C, H, W), what was denoised.
        x0_hat: (B, C, H, W), what the machine makes of it.
        image, row, column: (B, H, W, k), the sources: training images, and the pixel of each whose value is averaged; the
            likeliest first. -1 where there are fewer than k candidates.
        weight: (B, H, W, k), how much of the pixel is theirs; with the weights of all others they add up to 1.
        entropy: (B, H, W), of the whole belief, in nats.
        candidates: (B, H, W), how many training patches (or images) the pixel may match.
        effective_patches: (B, H, W), 1 / sum of squared weights.
        effective_images: (B, H, W), the same with the weights of each image's patches added up first.
    """

    pool: ImageSet
    t: float
    patch_size: int | None
    torus: bool
    x_t: Float[Tensor, "B C H W"]
    x0_hat: Float[Tensor, "B C H W"]
    image: Int64[Tensor, "B H W k"]
    row: Int64[Tensor, "B H W k"]
    column: Int64[Tensor, "B H W k"]
    weight: Float64[Tensor, "B H W k"]
    entropy: Float64[Tensor, "B H W"]
    candidates: Int64[Tensor, "B H W"]
    effective_patches: Float64[Tensor, "B H W"]
    effective_images: Float64[Tensor, "B H W"]

    @property
    def captured(self) -> Float64[Tensor, "B H W"]:
        """How much of each pixel its remembered sources account for."""
        return self.weight.sum(-1)

    @property
    def entropy_share(self) -> Float64[Tensor, "B H W"]:
        """Entropy over the most it could be, ln candidates: 1 where all weigh alike, 0 where one has all the weight."""
        most = self.candidates.double().log()
        return torch.where(most > 0, self.entropy / most, torch.zeros_like(most))

    @property
    def label(self) -> Int64[Tensor, "B H W k"] | None:
        """The class of each source, -1 where there is no source; None where the pool has no labels."""
        if self.pool.labels is None:
            return None
        return torch.where(self.image >= 0, self.pool.labels[self.image.clamp_min(0)], -1)


def trace(
    machine: Denoiser, x_t: Float[Tensor, "B C H W"], t: float, label: int | Tensor | None = None, *, top: int = 8
) -> Provenance:
    """Denoise, and tell where each pixel comes from.

    Args:
        machine: one whose x0_hat is a posterior mean of training pixels: IS, ES, LS, ELS, bbELS, soft windows ...
        x_t, t, label: as for a call of the machine; the result's x0_hat is that of the call. In float32 the weights are good
            to about 1e-3 of themselves (what is averaged over them to 1e-5); give float64 images for more.
        top: k, how many sources of each pixel to remember.

    Raises:
        PatchMosaicError: a machine of another kind, or one that is spread over processes; `top` below 1.
        MemoryBudgetError: the machine's budget does not hold one image against one query and what is remembered of it.
    """
    if not isinstance(machine, PosteriorDenoiser) or type(machine)._image is not PosteriorDenoiser._image:
        raise PatchMosaicError("only machines that average training pixels have a provenance", got=type(machine).__name__)
    if machine._ranks.world > 1:
        raise PatchMosaicError("provenance is traced by one process", got=f"{machine._ranks.world} of them")
    if top < 1:
        raise PatchMosaicError("at least one source must be remembered", got=top)
    x_t, times, labels = machine._checked(x_t, t, label)
    _, height, width = machine.image_shape
    whole = TracedSum.keeping(top)(len(x_t), machine.image_shape, True, machine.device)
    assert isinstance(whole, TracedSum)
    counts = torch.empty(len(x_t), dtype=torch.int64)
    footprint = traced_footprint(machine._footprint(), machine.image_shape, top)
    for samples, asked in machine._questions(x_t, times, labels, footprint, TracedSum.keeping(top)):
        state = machine._posterior(asked)
        assert isinstance(state, TracedSum)
        counts[samples.cpu()] = len(machine.pool) if asked.index is None else len(asked.index)
        whole[samples] = _of_pixels(state, height, width)
    level = float(machine.schedule.noise_level(times[0]))
    source = whole.source.movedim(1, 3).cpu()  # (B, H, W, k)
    place = source % (height * width)
    missing = source < 0
    return Provenance(
        pool=machine.pool,
        t=float(times[0]),
        patch_size=machine.size_at(level) if isinstance(machine, PatchDenoiser) else None,
        torus=machine.torus,
        x_t=x_t,
        x0_hat=whole.mean().to(x_t),
        image=torch.where(missing, -1, source // (height * width)),
        row=torch.where(missing, -1, place // width),
        column=torch.where(missing, -1, place % width),
        weight=whole.weights.movedim(1, 3).cpu(),
        entropy=whole.entropy.cpu(),
        candidates=counts[:, None, None] * machine.places(level),
        effective_patches=whole.effective_candidates.cpu(),
        effective_images=whole.effective_images.cpu(),
    )


def _of_pixels(state: TracedSum, height: int, width: int) -> TracedSum:
    """The state pixel by pixel, with pixels for places, also where the whole image shares one belief."""
    if state.m.shape[1:] == (height, width):
        return state
    if state.m.shape[1:] != (1, 1):
        raise ShapeError("a belief is one a pixel or one an image", got=tuple(state.m.shape))
    pixels = torch.arange(height * width, device=state.m.device).view(height, width)
    shift = state.source % (height * width)
    rows, columns = (pixels // width - shift // width) % height, (pixels % width - shift % width) % width
    source = state.source // (height * width) * (height * width) + rows * width + columns
    source = torch.where(state.source < 0, -1, source)
    shared = {
        name: getattr(state, name).expand(*getattr(state, name).shape[:-2], height, width)
        for name in ("m", "s", "surprise", "squares", "image_squares", "top")
    }
    return replace(state, source=source, **shared)
