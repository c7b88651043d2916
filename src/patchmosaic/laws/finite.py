"""Laws on finitely many images, blurred or not: copies of the training set, nearest images, codes.

    x0 ~ sum_k w_k N(a_k, h² I)

IS            a = the training images, w = 1/N, h = 0, in the continuous limit; of a kernel density, the same with its h
linear code   a = E[x0 | U'x0 = z] for the codes z of the pool, w = their shares, in the continuous limit
nearest       a = the training images, w = the Gaussian measure of each one's cell at the start, for any steps
K codes       a = the codes of the last noise level, w counted

What IS and its relatives draw in finitely many steps is known for images of one number only, by `one_dimensional`.

The continuous limit of IS carries p_T = sum_n N(alpha phi_n, sigma² I)/N to the training set. From another start its law is at
most as far from that as the start is from p_T, in total variation, for which Pinsker's inequality and the convexity of the
divergence give the bound

    TV² <= 1/2 mean_n KL(start ‖ N(alpha phi_n, s² I)),    KL = D/2 (r - 1 - ln r) + ‖m - alpha phi_n‖² / (2 s²),  r = std²/s²
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from patchmosaic.data.imageset import ImageSet
from patchmosaic.denoisers.base import Denoiser
from patchmosaic.denoisers.bottleneck.codebook import CodebookDenoiser, nearest
from patchmosaic.denoisers.bottleneck.linear_encoder import LinearEncoderDenoiser
from patchmosaic.denoisers.ideal import IdealDenoiser
from patchmosaic.denoisers.posterior import PosteriorDenoiser
from patchmosaic.denoisers.relatives.kernel_density import KernelDensityDenoiser
from patchmosaic.denoisers.relatives.nearest import NearestDenoiser
from patchmosaic.errors import NoiseLevelError, PatchMosaicError
from patchmosaic.laws.base import Drawing, Law, law_of
from patchmosaic.laws.mixture import MixtureLine
from patchmosaic.laws.one_dimensional import one_dimensional_law
from patchmosaic.sampling import seeds, solve

COUNTED = 4096  # samples, where weights are counted: their standard errors are below .008
STREAM = 2**31 - 1  # of the seeds of these samples, so that nobody else's are the same


@dataclass(frozen=True)
class FiniteLaw(Law):
    """Finitely many images with their probabilities, each blurred by N(0, width² I).

    Of samples that are the atoms up to rounding, the Wasserstein distance says how many are which; Kolmogorov-Smirnov distances
    of points that are not exactly equal do not.

    Attributes:
        image_shape: (C, H, W).
        atoms: the images.
        weights: (K,) their probabilities.
        width: h.
        start_error: the law of the samples is at most so far from this one in total variation, because of where they start.
    """

    image_shape: tuple[int, int, int]
    atoms: Float64[Tensor, "K C H W"]
    weights: Float64[Tensor, " K"]
    width: float = 0.0
    start_error: float = 0.0

    def mean(self) -> Float64[Tensor, "C H W"]:
        """sum_k w_k a_k."""
        mean: Tensor = torch.tensordot(self.weights, self.atoms, 1)
        return mean

    def covariance(self) -> Float64[Tensor, "D D"]:
        """That of the atoms, and width² I."""
        centred = (self.atoms - self.mean()).flatten(1)
        blur = self.width**2 * torch.eye(centred.shape[1], dtype=torch.float64)
        return (centred * self.weights[:, None]).T @ centred + blur

    def spectrum(self) -> Float64[Tensor, "C H W"]:
        """That of the atoms, and width² everywhere."""
        power = torch.fft.fft2(self.atoms - self.mean(), norm="ortho").abs().square()
        spectrum: Tensor = torch.tensordot(self.weights, power, 1) + self.width**2
        return spectrum

    def along(self, direction: Float64[Tensor, "C H W"]) -> MixtureLine:
        """A mixture of points or normal laws."""
        values = torch.tensordot(self.atoms, direction, 3)
        return MixtureLine(values.numpy(), self.weights.numpy(), self.width * float(direction.norm()))

    def distance_to_support(self, samples: Float[Tensor, "n C H W"]) -> Float64[Tensor, " n"]:
        """From the nearest atom, however small its probability; 0 for blurred ones, which reach everywhere."""
        points = samples.double().flatten(1)
        if self.width > 0:
            return points.new_zeros(len(points))
        atoms = self.atoms.flatten(1)  # a weight that was counted may be 0 by chance
        distance: Tensor = (points - atoms[nearest(points, atoms)]).norm(dim=1)
        return distance


@law_of.register(IdealDenoiser)
def _(denoiser: IdealDenoiser, drawing: Drawing) -> Law:
    return _copies(denoiser, drawing, 0.0) if drawing.continuous else _in_steps(denoiser, drawing)


@law_of.register(KernelDensityDenoiser)
def _(denoiser: KernelDensityDenoiser, drawing: Drawing) -> Law:
    return _copies(denoiser, drawing, denoiser.bandwidth) if drawing.continuous else _in_steps(denoiser, drawing)


@law_of.register(LinearEncoderDenoiser)
def _(denoiser: LinearEncoderDenoiser, drawing: Drawing) -> Law:
    if not drawing.continuous:
        return _in_steps(denoiser, drawing)
    images, axes = _images(denoiser.pool, drawing), denoiser.axes
    codes = images.flatten(1) @ axes
    _, owner = torch.unique((codes * 1e9).round(), dim=0, return_inverse=True)  # codes that agree to nine decimals are one
    counts = torch.bincount(owner).double()
    sums = images.new_zeros(len(counts), *images.shape[1:]).index_add_(0, owner, images)
    centre = drawing.mean.expand(denoiser.image_shape).flatten() @ axes
    bound = _start_error(drawing, centre, codes, 0.0)
    return FiniteLaw(denoiser.image_shape, sums / counts[:, None, None, None], counts / len(images), start_error=bound)


@law_of.register(NearestDenoiser)
def _(denoiser: NearestDenoiser, drawing: Drawing) -> FiniteLaw:
    if drawing.eta > 0:
        raise PatchMosaicError("the law of nearest images is known without added noise", got=f"eta = {drawing.eta}")
    if not bool(drawing.levels()[0].isfinite()):
        raise NoiseLevelError(
            "nothing is near at infinite noise", got="alpha = 0", hint="Give times= with a first time below 1."
        )
    images, (mean, std) = _images(denoiser.pool, drawing), drawing.start()
    if denoiser.image_shape == (1, 1, 1):
        return FiniteLaw(denoiser.image_shape, images, _cells(images.flatten(), float(mean), std))
    starts = mean + std * seeds(COUNTED, denoiser.image_shape, STREAM).double()
    return FiniteLaw(denoiser.image_shape, images, _shares(starts, images))


@law_of.register(CodebookDenoiser)
def _(denoiser: CodebookDenoiser, drawing: Drawing) -> FiniteLaw:
    if drawing.continuous:
        raise PatchMosaicError("the law of codes is known for a number of steps", got="the limit", hint="Try steps=20.")
    x_T = drawing.mean + drawing.std * seeds(COUNTED, denoiser.image_shape, STREAM).double()
    x0 = x_T.to(denoiser.device)
    for step in solve(denoiser, x0, label=drawing.label, times=drawing.times, solver=drawing.solver, eta=drawing.eta):
        x0 = step.x_next
    codes = denoiser.codebook(float(drawing.times[-1]), drawing.label).cpu()
    return FiniteLaw(denoiser.image_shape, codes, _shares(x0.cpu(), codes))


def _in_steps(denoiser: Denoiser, drawing: Drawing) -> Law:
    if denoiser.image_shape == (1, 1, 1):
        return one_dimensional_law(denoiser, drawing)
    raise PatchMosaicError(
        "this law is known in the limit of many steps", got=f"{len(drawing.times)} steps", hint="Try steps=None."
    )


def _copies(denoiser: PosteriorDenoiser, drawing: Drawing, width: float) -> FiniteLaw:
    images = _images(denoiser.pool, drawing)
    centre = drawing.mean.expand(denoiser.image_shape).flatten()
    bound = _start_error(drawing, centre, images.flatten(1), width)
    weights = torch.full((len(images),), 1 / len(images), dtype=torch.float64)
    return FiniteLaw(denoiser.image_shape, images, weights, width, bound)


def _images(pool: ImageSet, drawing: Drawing) -> Float64[Tensor, "N C H W"]:
    return pool.at(slice(None) if drawing.label is None else pool.of_class(drawing.label), torch.float64)


def _start_error(drawing: Drawing, centre: Float64[Tensor, " D"], points: Float64[Tensor, "N D"], width: float) -> float:
    """The bound of the total variation between N(centre, std² I) and the noisy points."""
    alpha, sigma = (float(scale) for scale in drawing.schedule(drawing.times[0]))
    variance = sigma**2 + (alpha * width) ** 2
    ratio = drawing.std**2 / variance
    if ratio == 0:
        return 1.0
    distance = float((centre - alpha * points).square().sum(1).mean())
    divergence = len(centre) / 2 * (ratio - 1 - math.log(ratio)) + distance / (2 * variance)
    return min(1.0, math.sqrt(divergence / 2))


def _cells(points: Float64[Tensor, " N"], mean: float, std: float) -> Float64[Tensor, " N"]:
    """How much of N(mean, std²) is nearest to each point of the line; equal points share it."""
    order, first = torch.unique(points, return_inverse=True)
    borders = (order[1:] + order[:-1]) / 2
    reached = torch.special.ndtr((borders - mean) / std)
    shares = torch.diff(reached, prepend=reached.new_zeros(1), append=reached.new_ones(1))
    return shares[first] / torch.bincount(first)[first]


def _shares(samples: Float64[Tensor, "n C H W"], atoms: Float64[Tensor, "K C H W"]) -> Float64[Tensor, " K"]:
    """The share of the samples that is nearest to each atom."""
    owner = nearest(samples.double().flatten(1), atoms.flatten(1))
    return torch.bincount(owner, minlength=len(atoms)).double() / len(samples)
