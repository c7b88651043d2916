"""Every machine by brute force: slow float64 numpy, straight from the definitions. What the tests believe.

    x0_hat(p) = sum_j w_j(p) v_j,        w(p) = softmax_j( -D_j(p) / (2 sigma²) )
    D_j(p)    = sum over the offsets o that p sees, and over channels, of ( x(p + o) - alpha phi_j(q_j + o) )²

A machine says two things of a pixel p: which offsets o it sees, and which candidates j = (training image phi_j,
position q_j) it may match. The value of a candidate is its centre, v_j = phi_j(q_j). Kamb & Ganguli, arXiv 2412.20292.

| machine             | p sees                          | q may be                                             |
|---------------------|---------------------------------|------------------------------------------------------|
| `ideal`             | the whole image                 | p                                                    |
| `equivariant`       | the whole image, on the torus   | anywhere                                             |
| `local`             | P x P window, cut at the border | p                                                    |
| `equivariant_local` | P x P window, on the torus      | anywhere, or ("valid") where no training patch wraps |
| `boundary_broken`   | P x P window, zeros outside     | where the window meets the border as it does at p    |

P = 2 r + 1 is `patch_size`; r is its radius. It may exceed the image: on the torus a pixel is still seen only once.
Zeros outside match exactly and add nothing, so `boundary_broken` too sums over the cut window.

Nothing here is shared with the engine it judges: no box sums, no FFT, no expanded squares. Use it on small images only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float64, Int64
from numpy.typing import NDArray

from patchmosaic.errors import NoiseLevelError, PatchSizeError, ShapeError

Machine = Literal["ideal", "equivariant", "local", "equivariant_local", "boundary_broken"]
TrainingPadding = Literal["circular", "valid"]
Images = Float64[np.ndarray, "B C H W"]


@dataclass(frozen=True)
class Candidates:
    """What one pixel may match, and how well: K candidates, the same for each of the B noisy images.

    Candidate j is the training image `image[j]` with its pixel (`row[j]`, `column[j]`) laid on the noisy pixel.
    """

    image: Int64[np.ndarray, " K"]
    row: Int64[np.ndarray, " K"]
    column: Int64[np.ndarray, " K"]
    log_weights: Float64[np.ndarray, "B K"]  # -D_j / (2 sigma²), not normalised
    values: Float64[np.ndarray, "K C"]

    @property
    def posterior_weights(self) -> Float64[np.ndarray, "B K"]:
        """softmax_j of the log-weights; each row sums to 1."""
        return _softmax(self.log_weights)

    @property
    def x0_hat(self) -> Float64[np.ndarray, "B C"]:
        """The posterior mean of the pixel."""
        x0_hat: Float64[np.ndarray, "B C"] = self.posterior_weights @ self.values
        return x0_hat


def ideal(x: NDArray[Any], images: NDArray[Any], alpha: float, sigma: float) -> Images:
    """IS: the posterior mean over whole training images.

    Args:
        x: (B, C, H, W) noisy images.
        images: (N, C, H, W) training images, in any range.
        alpha: the scale of the data in `x`.
        sigma: the scale of the noise in `x`; above 0.

    Returns:
        (B, C, H, W) x0_hat, float64.

    Raises:
        ShapeError: not four dimensions, unequal C, H, W, or an empty pool.
        NoiseLevelError: sigma is not above 0, or a scale is not finite.
    """
    x, images = _checked(x, images, alpha, sigma)
    distances = np.stack([((x - alpha * phi) ** 2).sum(axis=(1, 2, 3)) for phi in images], axis=1)  # (B, N)
    weights = _softmax(-distances / (2 * sigma**2))
    x0_hat = np.zeros_like(x)
    for n, phi in enumerate(images):
        x0_hat += weights[:, n, None, None, None] * phi
    return x0_hat


def equivariant(x: NDArray[Any], images: NDArray[Any], alpha: float, sigma: float) -> Images:
    """ES: `ideal` over the pool of every training image in each of its H W circular translations.

    Arguments, result and errors as in `ideal`. Holds all translations at once.
    """
    x, images = _checked(x, images, alpha, sigma)
    height, width = images.shape[2:]
    translations = [np.roll(images, (down, right), axis=(2, 3)) for down in range(height) for right in range(width)]
    return ideal(x, np.concatenate(translations), alpha, sigma)


def local(x: NDArray[Any], images: NDArray[Any], alpha: float, sigma: float, patch_size: int) -> Images:
    """LS: every pixel compares its window with the same window of every training image.

    Arguments, result and errors as in `ideal`, and:

    Raises:
        PatchSizeError: patch_size is even or below 1.
    """
    return _pixel_by_pixel("local", x, images, alpha, sigma, patch_size)


def equivariant_local(
    x: NDArray[Any],
    images: NDArray[Any],
    alpha: float,
    sigma: float,
    patch_size: int,
    training_padding: TrainingPadding = "circular",
) -> Images:
    """ELS: every pixel compares its window on the torus with every patch of every training image.

    Arguments, result and errors as in `ideal`, and:

    Args:
        training_padding: "circular", the theory: training patches wrap too. "valid", the paper's code: only the
            training patches that lie wholly inside the image; the noisy image wraps all the same.

    Raises:
        PatchSizeError: patch_size is even or below 1, or "valid" leaves no training patch.
    """
    return _pixel_by_pixel("equivariant_local", x, images, alpha, sigma, patch_size, training_padding)


def boundary_broken(x: NDArray[Any], images: NDArray[Any], alpha: float, sigma: float, patch_size: int) -> Images:
    """bbELS: every pixel compares its zero-padded window with the training patches of the same border layout.

    On each axis on its own, a coordinate whose window lies inside the image matches all such coordinates, and any other
    matches only itself. Arguments, result and errors as in `local`.
    """
    return _pixel_by_pixel("boundary_broken", x, images, alpha, sigma, patch_size)


def wiener(x: NDArray[Any], images: NDArray[Any], alpha: float, sigma: float) -> Images:
    """The posterior mean under a Gaussian with the pool's mean mu and covariance S (divisor N).

        x0_hat = mu + alpha S (alpha² S + sigma² I)^-1 (x - alpha mu)

    Arguments, result and errors as in `ideal`.
    """
    x, images = _checked(x, images, alpha, sigma)
    noisy, pool = x.reshape(len(x), -1), images.reshape(len(images), -1)  # (B, D), (N, D)
    mu = pool.mean(axis=0)
    covariance = (pool - mu).T @ (pool - mu) / len(pool)
    residual = (noisy - alpha * mu).T  # (D, B)
    solved = np.linalg.solve(alpha**2 * covariance + sigma**2 * np.eye(len(mu)), residual)
    x0_hat: Images = (mu + alpha * (covariance @ solved).T).reshape(x.shape)
    return x0_hat


def candidates(
    machine: Machine,
    x: NDArray[Any],
    images: NDArray[Any],
    alpha: float,
    sigma: float,
    row: int,
    column: int,
    patch_size: int | None = None,
    training_padding: TrainingPadding = "circular",
) -> Candidates:
    """All that the pixel (row, column) of `x` may match under `machine`, with log-weights: the core of this module.

    Candidates are ordered by training image, then row, then column. Arguments and errors as in the function named
    `machine`; `patch_size` is for the three machines that have one, and `training_padding` for `equivariant_local`.
    """
    x, images = _checked(x, images, alpha, sigma)
    height, width = x.shape[2:]
    if not (0 <= row < height and 0 <= column < width):
        raise ShapeError(f"no such pixel in {height}x{width} images", got=(row, column))
    radius = _radius(machine, patch_size)
    row_offsets, rows = _axis(machine, row, height, radius, training_padding)
    column_offsets, columns = _axis(machine, column, width, radius, training_padding)
    if not rows or not columns:
        side = min(height, width)
        largest = side if side % 2 == 1 else side - 1
        raise PatchSizeError(
            f'patch_size must be at most {largest} for {height}x{width} images with training_padding="valid"',
            got=patch_size,
            hint='Try a smaller patch, or training_padding="circular".',
        )

    listed = [(n, q_row, q_column) for n in range(len(images)) for q_row in rows for q_column in columns]
    n, q_row, q_column = np.array(listed, dtype=np.int64).T  # (K,) each
    distances = np.zeros((len(x), len(n)))  # (B, K)
    for down in row_offsets:
        for right in column_offsets:
            seen = x[:, :, (row + down) % height, (column + right) % width]  # (B, C)
            offered = images[n, :, (q_row + down) % height, (q_column + right) % width]  # (K, C)
            distances += ((seen[:, None, :] - alpha * offered[None, :, :]) ** 2).sum(axis=2)
    return Candidates(n, q_row, q_column, -distances / (2 * sigma**2), images[n, :, q_row, q_column])


def _axis(machine: Machine, i: int, side: int, radius: int, training_padding: TrainingPadding) -> tuple[list[int], list[int]]:
    """On one axis: the offsets (modulo the side) that coordinate i sees, and the coordinates it may match."""
    everywhere = list(range(side))
    inside = [q for q in everywhere if radius <= q <= side - 1 - radius]  # the window does not leave the image
    whole = [j - i for j in everywhere]
    cut = [j - i for j in everywhere if abs(j - i) <= radius]
    torus = [j - i for j in everywhere if min((j - i) % side, (i - j) % side) <= radius]
    match machine:
        case "ideal":
            return whole, [i]
        case "equivariant":
            return whole, everywhere
        case "local":
            return cut, [i]
        case "equivariant_local":
            return torus, {"circular": everywhere, "valid": inside}[training_padding]
        case "boundary_broken":
            return cut, inside if i in inside else [i]


def _pixel_by_pixel(
    machine: Machine,
    x: NDArray[Any],
    images: NDArray[Any],
    alpha: float,
    sigma: float,
    patch_size: int,
    training_padding: TrainingPadding = "circular",
) -> Images:
    """x0_hat of every pixel from its own candidates."""
    x, images = _checked(x, images, alpha, sigma)
    x0_hat = np.empty_like(x)
    for row in range(x.shape[2]):
        for column in range(x.shape[3]):
            found = candidates(machine, x, images, alpha, sigma, row, column, patch_size, training_padding)
            x0_hat[:, :, row, column] = found.x0_hat
    return x0_hat


def _softmax(log_weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """softmax along the last axis, the largest log-weight subtracted first."""
    unnormalised = np.exp(log_weights - log_weights.max(axis=-1, keepdims=True))
    weights: NDArray[np.float64] = unnormalised / unnormalised.sum(axis=-1, keepdims=True)
    return weights


def _radius(machine: Machine, patch_size: int | None) -> int:
    if machine in ("ideal", "equivariant"):
        if patch_size is not None:
            raise PatchSizeError(f"the {machine} machine sees whole images and takes no patch_size", got=patch_size)
        return 0
    if patch_size is None or patch_size < 1 or patch_size % 2 == 0:
        raise PatchSizeError("patch_size must be odd and at least 1", got=str(patch_size), hint="Try 3 or 5.")
    return (patch_size - 1) // 2


def _checked(
    x: NDArray[Any], images: NDArray[Any], alpha: float, sigma: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    x, images = np.asarray(x, dtype=np.float64), np.asarray(images, dtype=np.float64)
    if x.ndim != 4 or images.ndim != 4 or x.shape[1:] != images.shape[1:] or 0 in images.shape:
        raise ShapeError("x (B, C, H, W) and images (N, C, H, W) must agree in C, H, W", got=(x.shape, images.shape))
    if not (0 < sigma < math.inf and math.isfinite(alpha)):
        raise NoiseLevelError("sigma must be above 0, and both scales finite", got=f"alpha={alpha}, sigma={sigma}")
    return x, images
