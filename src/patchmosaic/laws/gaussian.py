"""What linear denoisers generate: a Gaussian, through every step of a solver or in the continuous limit.

The residual r = x - alpha mu goes linearly from step to step, in the blocks of the denoiser's map A_t:

    DDIM    G = alpha_s A_t + kept (I - alpha_t A_t) / sigma_t           kept² = sigma_s² - c²,  c the noise added
    Heun    G = DDIM + alpha_s (L_s - L_t)/2 (E_s DDIM - E_t)            E_t = (I - alpha_t A_t) / sigma_t,  L = sigma / alpha
    M <- G M,    Cov <- G Cov G* + c² I                                  M: r at the start -> r

and in the limit of many steps, of the residual of y = x / alpha,

    dM / d ln L = (1 + eta²) (I - W) M,    dCov / d ln L = (1 + eta²) ((I - W) Cov + Cov (I - W)*) - 2 eta² L²,    W = alpha A_t

Where W = S (S + L²)^-1 for one S at all levels, an eigenvalue l of S has the solutions, with q = l / (l + L²) at the start,

    M = q^((1 + eta²)/2),    Cov = l + (Cov_T - l - L²) q^(1 + eta²)     for eta = 0 and Cov_T = L²: l L² / (l + L²)

so that the continuous limit, from infinite noise, generates the moments that were fitted; finitely many steps of DDIM always
have too little variance.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64, Inexact
from torch import Tensor

from patchmosaic.denoisers.linear.base import Blocks, LinearDenoiser, LinearFilter, apply_blocks
from patchmosaic.errors import NoiseLevelError
from patchmosaic.laws.base import Drawing, Law, law_of
from patchmosaic.laws.line import NormalLine
from patchmosaic.sampling import noise_split

LOWEST = 1e-5  # noise level at which the continuous limit ends, a fraction of the lower of 1 and the level it starts from
STEPS = 600  # of its integration, fourth order over some 16 e-folds of noise: relative errors below 1e-6


@dataclass(frozen=True)
class GaussianLaw(Law):
    """A Gaussian whose covariance is blocks in the coordinates of a linear filter.

    Attributes:
        image_shape: (C, H, W).
        centre: its mean.
        blocks: (K, m, m) covariance of the coordinates; what is orthogonal to all coordinates does not vary.
        filter: whose coordinates.
    """

    image_shape: tuple[int, int, int]
    centre: Float64[Tensor, "C H W"]
    blocks: Blocks
    filter: LinearFilter

    def mean(self) -> Float64[Tensor, "C H W"]:
        """The centre."""
        return self.centre

    def covariance(self) -> Float64[Tensor, "D D"]:
        """From the synthesis of each column of a root of the blocks."""
        columns = self._columns()
        covariance: Tensor = columns.T @ columns.conj()
        return _real(covariance)

    def spectrum(self) -> Float64[Tensor, "C H W"]:
        """The power of the columns that make up the covariance."""
        columns = self._columns().view(-1, *self.image_shape)
        power: Tensor = torch.fft.fft2(columns, norm="ortho").abs().square().sum(0)
        return power

    def along(self, direction: Float64[Tensor, "C H W"]) -> NormalLine:
        """A normal law."""
        coordinates = self.filter.analyse(direction.flatten()[None])
        variance = _real((coordinates.conj() * apply_blocks(self.blocks, coordinates)).sum()).clamp_min(0)
        return NormalLine(float((direction * self.centre).sum()), float(variance.sqrt()))

    def distance_to_support(self, samples: Float[Tensor, "n C H W"]) -> Float64[Tensor, " n"]:
        """From the affine space through the mean, along the axes that vary."""
        residual = samples.double().flatten(1) - self.centre.flatten()
        variances, axes = torch.linalg.eigh(self.blocks)
        varies = variances > variances.max() * 1e-12
        coordinates = apply_blocks(axes.mH, self.filter.analyse(residual)) * varies
        inside = self.filter.synthesise(apply_blocks(axes, coordinates))
        distance: Tensor = (residual - _real(inside)).norm(dim=1)
        return distance

    def _columns(self) -> Inexact[Tensor, "n D"]:
        """Vectors f with Cov = sum f f*: of each block, the columns of a root."""
        variances, axes = torch.linalg.eigh(self.blocks)
        roots = axes * variances.clamp_min(0).sqrt()[:, None, :]
        count, size, _ = roots.shape
        each = torch.zeros(count, size, count, size, dtype=roots.dtype)
        positions = torch.arange(count)
        each[positions, :, positions] = roots.transpose(1, 2)  # (block, column, block, coordinate)
        return self.filter.synthesise(each.view(count * size, count, size))


@law_of.register(LinearDenoiser)
def _(denoiser: LinearDenoiser, drawing: Drawing) -> GaussianLaw:
    fitted = denoiser.fitted(drawing.label).to("cpu")
    alpha, _ = drawing.schedule(drawing.times[0])
    start = drawing.mean.expand(denoiser.image_shape).flatten() - alpha * fitted.mean
    if not drawing.continuous:
        matrix, covariance = _stepped(fitted, drawing)
    elif (variances := fitted.variances()) is not None:
        matrix, covariance = _flowed(variances, drawing)
    else:
        matrix, covariance = _integrated(fitted, drawing)
    moved = fitted.synthesise(apply_blocks(matrix, fitted.analyse(start[None])))[0]
    centre = (fitted.mean + _real(moved)).view(denoiser.image_shape)
    return GaussianLaw(denoiser.image_shape, centre, covariance, fitted)


def _stepped(fitted: LinearFilter, drawing: Drawing) -> tuple[Blocks, Blocks]:
    """M and Cov after every step of the solver."""
    alphas, sigmas = drawing.scales()
    matrix, covariance = _start(fitted, drawing)
    ahead = fitted.gain(alphas[0], sigmas[0])
    for i, t in enumerate(drawing.times):
        (alpha_t, alpha_s), (sigma_t, sigma_s) = alphas[i : i + 2], sigmas[i : i + 2]
        gain, last = ahead, i + 1 == len(drawing.times)
        unit = _unit(gain)
        noise_t = (unit - alpha_t * gain) / sigma_t
        kept, added = (sigma_s, sigma_s) if last else noise_split(drawing.schedule, t, drawing.times[i + 1], drawing.eta)
        step = alpha_s * gain + kept * noise_t
        if not last:
            ahead = fitted.gain(alpha_s, sigma_s)
            if drawing.solver == "heun" and alpha_t > 0:
                noise_s = (unit - alpha_s * ahead) / sigma_s
                step = step + alpha_s * (sigma_s / alpha_s - sigma_t / alpha_t) / 2 * (noise_s @ step - noise_t)
        matrix, covariance = step @ matrix, step @ covariance @ step.mH + added**2 * unit
    return matrix, covariance


def _flowed(variances: Blocks, drawing: Drawing) -> tuple[Blocks, Blocks]:
    """M and Cov of the continuous limit in closed form; written for x, so that it holds where alpha = 0 at the start."""
    alpha, sigma = drawing.schedule(drawing.times[0])
    power = (1 + drawing.eta**2) / 2
    values, axes = torch.linalg.eigh(variances)
    values = values.clamp_min(0)
    total = alpha**2 * values + sigma**2
    growth = alpha ** (drawing.eta**2) * (values / total) ** power
    spread = values + (drawing.std**2 - total) * growth**2
    return (axes * growth[:, None, :]) @ axes.mH, (axes * spread[:, None, :]) @ axes.mH


def _integrated(fitted: LinearFilter, drawing: Drawing) -> tuple[Blocks, Blocks]:
    """M and Cov of the continuous limit by the classical Runge-Kutta method in ln L."""
    alpha, sigma = drawing.schedule(drawing.times[0])
    if alpha == 0:
        raise NoiseLevelError(
            "this limit is computed from a finite noise level", got="alpha = 0", hint="Give times= with a first time below 1."
        )
    rate, one = 1 + drawing.eta**2, torch.ones_like(alpha)
    top = sigma / alpha
    bottom = LOWEST * top.clamp_max(1)
    grid = torch.linspace(float(top.log()), float(bottom.log()), 2 * STEPS + 1, dtype=torch.float64)  # ends and middles
    step = float(grid[2] - grid[0])

    def slope(shrink: Blocks, log_level: Tensor, matrix: Blocks, covariance: Blocks) -> tuple[Blocks, Blocks]:
        drift = rate * shrink @ covariance
        return rate * shrink @ matrix, drift + drift.mH - 2 * drawing.eta**2 * (2 * log_level).exp() * _unit(shrink)

    def shrinkage(log_level: Tensor) -> Blocks:
        gain = fitted.gain(one, log_level.exp())
        return _unit(gain) - gain

    matrix, covariance = _start(fitted, drawing)
    state = matrix / alpha, covariance / alpha**2
    here = shrinkage(grid[0])
    for i in range(0, 2 * STEPS, 2):
        middle, there = shrinkage(grid[i + 1]), shrinkage(grid[i + 2])
        first = slope(here, grid[i], *state)
        second = slope(middle, grid[i + 1], *_along(state, step / 2, first))
        third = slope(middle, grid[i + 1], *_along(state, step / 2, second))
        fourth = slope(there, grid[i + 2], *_along(state, step, third))
        state = _along(_along(_along(_along(state, step / 6, first), step / 3, second), step / 3, third), step / 6, fourth)
        here = there
    last = _unit(here) - here
    return last @ state[0], last @ state[1] @ last.mH


def _along(state: tuple[Tensor, Tensor], step: float, slope: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    return state[0] + step * slope[0], state[1] + step * slope[1]


def _start(fitted: LinearFilter, drawing: Drawing) -> tuple[Blocks, Blocks]:
    one = torch.ones((), dtype=torch.float64)
    unit = _unit(fitted.gain(one, one))
    return unit, drawing.std**2 * unit


def _unit(blocks: Blocks) -> Blocks:
    return torch.eye(blocks.shape[-1], dtype=blocks.dtype).expand_as(blocks)


def _real(tensor: Tensor) -> Tensor:
    return tensor.real if tensor.is_complex() else tensor
