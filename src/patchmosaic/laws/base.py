"""The law of what a denoiser generates, where it is known.

    x_T ~ N(m, s² I)  ->  the steps of a solver, or their continuous limit  ->  x0 ~ law

The law belongs to denoiser, schedule, times, solver, eta and start together; `Drawing` is all of these but the denoiser. Each
family of denoisers has its file here, which registers one function with `law_of`; `generated_law` finds it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import singledispatch

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from patchmosaic.denoisers.base import Denoiser
from patchmosaic.errors import PatchMosaicError, ShapeError, ValueRangeError
from patchmosaic.laws.agreement import Agreement, agreement
from patchmosaic.laws.line import LineLaw
from patchmosaic.noise import NoiseSchedule
from patchmosaic.sampling import Solver, check_solver, checked_times

DIRECTIONS = 8


class Law(ABC):
    """The distribution of generated images.

    Attributes:
        image_shape: (C, H, W); D = C H W.
    """

    image_shape: tuple[int, int, int]

    @abstractmethod
    def mean(self) -> Float64[Tensor, "C H W"]:
        """E x0."""

    @abstractmethod
    def covariance(self) -> Float64[Tensor, "D D"]:
        """Of the images as vectors."""

    @abstractmethod
    def along(self, direction: Float64[Tensor, "C H W"]) -> LineLaw:
        """The law of the inner product of x0 with a direction."""

    @abstractmethod
    def distance_to_support(self, samples: Float[Tensor, "n C H W"]) -> Float64[Tensor, " n"]:
        """How far each image is from the nearest that can be generated."""

    def line(self) -> LineLaw:
        """The law itself, where an image is one number.

        Raises:
            ShapeError: it is more.
        """
        if self.image_shape != (1, 1, 1):
            raise ShapeError("only images of one number have a law on the line", got=self.image_shape, hint="Try along().")
        return self.along(torch.ones(1, 1, 1, dtype=torch.float64))

    def spectrum(self) -> Float64[Tensor, "C H W"]:
        """The power of x0 - E x0 at each frequency of each channel: E |FFT|² / (H W), whose sum is the total variance."""
        channels, height, width = self.image_shape
        pixels = height * width
        blocks = self.covariance().view(channels, pixels, channels, pixels).diagonal(dim1=0, dim2=2)  # (HW, HW, C)
        blocks = blocks.permute(2, 0, 1).reshape(channels, height, width, height, width)
        # F K F*: the transform over the first position, and its conjugate over the second.
        there = torch.fft.ifft2(torch.fft.fft2(blocks, dim=(1, 2)), dim=(3, 4)).reshape(channels, pixels, pixels)
        power: Tensor = there.diagonal(dim1=1, dim2=2).real.reshape(channels, height, width)
        return power

    def compare(self, samples: Float[Tensor, "n C H W"], directions: Float64[Tensor, "K C H W"] | None = None) -> Agreement:
        """Samples beside the law: moments, spectrum, support; Wasserstein and Kolmogorov-Smirnov distance along directions.

        Args:
            samples: at least two.
            directions: by default the law's principal axes of largest variance, at most eight.

        Raises:
            ShapeError: samples of another shape than the law's images, or fewer than two.
        """
        if tuple(samples.shape[1:]) != self.image_shape:
            raise ShapeError(f"samples must be images of {self.image_shape}", got=tuple(samples.shape))
        samples, covariance = samples.detach().cpu(), self.covariance()
        if directions is None:
            axes = torch.linalg.eigh(covariance).eigenvectors.flip(1)[:, :DIRECTIONS]
            directions = axes.T.reshape(-1, *self.image_shape)
        lines = [(direction, self.along(direction)) for direction in directions]
        distances = self.distance_to_support(samples)
        return agreement(samples, self.mean(), covariance, self.spectrum(), lines, distances)


@dataclass(frozen=True)
class Drawing:
    """How samples are drawn: all that a law depends on beside the denoiser.

    Attributes:
        schedule: what times mean.
        times: (steps,) of the denoiser calls, decreasing; of the continuous limit only the first counts.
        continuous: the limit of infinitely many steps, down to noise level 0.
        solver, eta: as for `patchmosaic.sample`.
        mean, std: the state at the first time is N(mean, std² I); `mean` is (C, H, W), or broadcasts to it.
        label: the class asked for.
    """

    schedule: NoiseSchedule
    times: Float64[Tensor, " steps"]
    continuous: bool
    solver: Solver
    eta: float
    mean: Float64[Tensor, ...]
    std: float
    label: int | None

    def scales(self) -> tuple[Float64[Tensor, " states"], Float64[Tensor, " states"]]:
        """alpha and sigma of every state, from the first time to clean data, (1, 0): one more than there are steps."""
        alpha, sigma = self.schedule(self.times)
        return torch.cat([alpha, alpha.new_ones(1)]), torch.cat([sigma, sigma.new_zeros(1)])

    def levels(self) -> Float64[Tensor, " states"]:
        """sigma / alpha of every state; the last is 0."""
        alpha, sigma = self.scales()
        return sigma / alpha

    def start(self) -> tuple[Float64[Tensor, ...], float]:
        """Mean and standard deviation of y = x / alpha at the first time: the start in the variance-exploding clock."""
        alpha = float(self.schedule(self.times[0])[0])
        return self.mean / alpha, self.std / alpha


def generated_law(
    denoiser: Denoiser,
    steps: int | None = 20,
    *,
    times: Tensor | None = None,
    solver: Solver = "ddim",
    eta: float = 0.0,
    label: int | None = None,
    mean: Tensor | float = 0.0,
    std: float | None = None,
) -> Law:
    """The law of the samples that `patchmosaic.sample` draws with the same arguments from x_T ~ N(mean, std² I).

    Args:
        denoiser: one of a family whose law is known.
        steps: number of steps on the uniform grid; None for the limit of infinitely many.
        times: (steps,) the times of the steps instead; with steps = None, its first is where the limit starts.
        solver, eta: as for `sample`. The limit knows eta only: all solvers have the same.
        label: the class asked for, of a conditional denoiser.
        mean: of x_T: a number, or (C, H, W).
        std: of x_T; by default that of noisy data of variance 1, `schedule.prior_std()` at t = 1.

    Raises:
        PatchMosaicError: the law is not known.
    """
    check_solver(solver, eta)
    if not 0 <= eta <= 1:
        raise ValueRangeError("eta must lie in [0, 1]", got=eta)
    grid = checked_times(1 if steps is None else steps, times)
    alpha, sigma = denoiser.schedule(grid[0])
    std = float(torch.hypot(alpha, sigma)) if std is None else std
    if not std >= 0:
        raise ValueRangeError("a standard deviation is not negative", got=std)
    start = torch.as_tensor(mean, dtype=torch.float64)
    return law_of(denoiser, Drawing(denoiser.schedule, grid, steps is None, solver, eta, start, std, label))


@singledispatch
def law_of(denoiser: Denoiser, drawing: Drawing) -> Law:
    """The law of a denoiser's samples: what each family registers for its class."""
    known = sorted(kind.__name__ for kind in law_of.registry if kind not in (object, Denoiser))
    raise PatchMosaicError(
        "the law of the samples is not known for this denoiser",
        got=type(denoiser).__name__,
        hint=f"Known: {', '.join(known)}; and of all denoisers of images of one number.",
    )
