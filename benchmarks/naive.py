"""The machines as public code computes them: the baseline that the engine is measured against.

One noisy image at a time, training images in minibatches of 64, float32, one torch operation after another:

    patches are unfolded                            F.unfold
    squared distances are expanded                  |x|² - 2 alpha x·phi + alpha² |phi|²
    exp(-distance / (2 sigma²) - running maximum)   summed, and summed with the patches' centres

The product x·phi of every pixel's window with every patch, and the sum over centres, are done in either of two ways:

    by_convolution      the patches are kernels that the noisy image is convolved with; centres are multiplied by their
                        weights and added up, as in the code published with Kamb & Ganguli, arXiv 2412.20292
    by_matrix_product   windows are unfolded too, and both sums are matrix products

Arguments are those of `patchmosaic.engine.oracle`, as tensors and for one noisy image: x (1, C, H, W), images (N, C, H, W),
alpha, sigma, patch_size; the result is x0_hat (1, C, H, W).
"""

import torch
import torch.nn.functional as F

MINIBATCH = 64


def equivariant_local(x, images, alpha, sigma, patch_size, way):
    """ELS: on the torus the window of every pixel, from every training image the patches that lie wholly inside."""
    meet = way(_padded(x, patch_size, mode="circular"), alpha, sigma, patch_size)
    return _mean(meet(batch) for batch in images.split(MINIBATCH)).view(x.shape)


def boundary_broken(x, images, alpha, sigma, patch_size, way):
    """bbELS: interior pixels meet interior patches; a line along an edge, the same line of all images; corners, their place."""
    radius = patch_size // 2
    padded_x, padded_images = _padded(x, patch_size), _padded(images, patch_size)
    x0_hat = torch.empty_like(x)
    for way_here, rows, columns in _border_layouts(*x.shape[2:], radius, way):
        seen = (..., *(slice(pixels.start, pixels.stop + 2 * radius) for pixels in (rows, columns)))
        meet = way_here(padded_x[seen], alpha, sigma, patch_size)
        mean = _mean(meet(batch[seen]) for batch in padded_images.split(MINIBATCH))
        x0_hat[..., rows, columns] = mean.view(x0_hat[..., rows, columns].shape)
    return x0_hat


def local(x, images, alpha, sigma, patch_size):
    """LS: every pixel meets its own place in every training image."""
    meet = at_same_place(_padded(x, patch_size), alpha, sigma, patch_size)
    return _mean(meet(_padded(batch, patch_size)) for batch in images.split(MINIBATCH)).view(x.shape)


def ideal(x, images, alpha, sigma):
    """IS: the whole image against whole training images."""

    def meet(batch):
        log_weights = -(x - alpha * batch).square().sum((1, 2, 3)) / (2 * sigma**2)  # (n,)
        m = log_weights.amax()
        weights = torch.exp(log_weights - m)
        return m, weights.sum(), (weights[:, None, None, None] * batch).sum(0)

    return _mean(meet(batch) for batch in images.split(MINIBATCH))[None]


# Ways for the pixels whose windows lie in x (1, C, h + P - 1, w + P - 1) to meet the patches of a minibatch. Each returns, for
# these L = h w pixels: the largest log-weight m (L,), the sum of exp(l - m) (L,), and with centres (C, L).


def by_convolution(x, alpha, sigma, patch_size):
    norms = F.unfold(x, patch_size)[0].square().sum(0)  # (L,)

    def meet(batch):
        patches = _patches(batch, patch_size)  # (K, C, P, P)
        products = F.conv2d(x, patches)[0].flatten(1)  # (K, L)
        patch_norms = patches.square().sum((1, 2, 3))[:, None]
        log_weights = -(norms - 2 * alpha * products + alpha**2 * patch_norms) / (2 * sigma**2)
        m = log_weights.amax(0)
        weights = torch.exp(log_weights - m)
        return m, weights.sum(0), (weights[:, None] * _centres(patches)[:, :, None]).sum(0)

    return meet


def by_matrix_product(x, alpha, sigma, patch_size):
    windows = F.unfold(x, patch_size)[0].T  # (L, CPP)
    norms = windows.square().sum(1, keepdim=True)

    def meet(batch):
        patches = _patches(batch, patch_size)
        flat = patches.flatten(1)  # (K, CPP)
        log_weights = -(norms - 2 * alpha * (windows @ flat.T) + alpha**2 * flat.square().sum(1)) / (2 * sigma**2)  # (L, K)
        m = log_weights.amax(1)
        weights = torch.exp(log_weights - m[:, None])
        return m, weights.sum(1), (weights @ _centres(patches)).T

    return meet


def at_same_place(x, alpha, sigma, patch_size):
    """Here the minibatch is cropped as x is."""
    radius = patch_size // 2

    def meet(batch):
        squares = (x - alpha * batch).square().sum(1, keepdim=True)
        log_weights = -F.unfold(squares, patch_size).sum(1) / (2 * sigma**2)  # (n, L)
        m = log_weights.amax(0)
        weights = torch.exp(log_weights - m)
        centres = batch[..., radius : x.shape[2] - radius, radius : x.shape[3] - radius].flatten(2)  # (n, C, L)
        return m, weights.sum(0), (weights[:, None] * centres).sum(0)

    return meet


WAYS = {"convolution": by_convolution, "matrix product": by_matrix_product}


def _mean(sums):
    """The posterior mean from the (m, s, v) of every minibatch."""
    m, s, v = next(sums)
    for new_m, new_s, new_v in sums:
        top = torch.maximum(m, new_m)
        old, new = torch.exp(m - top), torch.exp(new_m - top)
        m, s, v = top, s * old + new_s * new, v * old + new_v * new
    return v / s


def _padded(images, patch_size, mode="constant"):
    return F.pad(images, (patch_size // 2,) * 4, mode=mode)


def _patches(batch, patch_size):
    """Every patch inside the images, (K, C, P, P)."""
    unfolded = F.unfold(batch, patch_size).transpose(1, 2)  # (n, positions, CPP)
    return unfolded.reshape(-1, batch.shape[1], patch_size, patch_size)


def _centres(patches):
    return patches[:, :, patches.shape[2] // 2, patches.shape[3] // 2]  # (K, C)


def _border_layouts(height, width, radius, way):
    """Rectangles of pixels, as (way, rows, columns), that may all match the same places: one interior, lines, corners."""

    def layouts(side):
        interior = slice(radius, side - radius)
        near, far = slice(0, radius), slice(side - radius, side)
        lines = [slice(i, i + 1) for i in (*range(radius), *range(side - radius, side))]
        return interior, lines, (near, far)

    (rows, row_lines, row_ends), (columns, column_lines, column_ends) = layouts(height), layouts(width)
    yield way, rows, columns
    for line in row_lines:
        yield way, line, columns
    for line in column_lines:
        yield way, rows, line
    for end in row_ends:
        for other_end in column_ends:
            yield at_same_place, end, other_end
