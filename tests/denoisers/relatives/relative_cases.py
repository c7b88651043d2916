"""The relatives by brute force: float64 NumPy, pixel by pixel, from the definitions. Nothing is shared with the engine."""

import numpy as np


def softmax(log_weights):
    weights = np.exp(log_weights - log_weights.max())
    return weights / weights.sum()


def kernel_density(x, images, alpha, sigma, bandwidth):
    y, level = x / alpha, sigma / alpha
    weights = softmax(-((y - images) ** 2).sum((1, 2, 3)) / (2 * (level**2 + bandwidth**2)))
    mean = np.tensordot(weights, images, 1)
    return y + level**2 / (level**2 + bandwidth**2) * (mean - y)


def nearest(x, images, alpha, sigma):
    return images[((x / alpha - images) ** 2).sum((1, 2, 3)).argmin()]


def linear_encoder(x, images, alpha, sigma, encoder):
    """By the covariance of the code's noise, sigma² U'U: the columns need not be orthonormal."""
    gaps = (x - alpha * images).reshape(len(images), -1) @ encoder
    distances = np.einsum("nr,rs,ns->n", gaps, np.linalg.inv(encoder.T @ encoder), gaps)
    return np.tensordot(softmax(-distances / (2 * sigma**2)), images, 1)


def patch_composite(x, images, alpha, sigma, patch_size):
    _, height, width = x.shape
    rows, columns = min(patch_size, height), min(patch_size, width)
    total, count = np.zeros_like(x), np.zeros((height, width))
    for top in range(height - rows + 1):
        for left in range(width - columns + 1):
            patch = np.s_[..., top : top + rows, left : left + columns]
            weights = softmax(-((x[patch] - alpha * images[patch]) ** 2).sum((1, 2, 3)) / (2 * sigma**2))
            total[patch] += np.tensordot(weights, images[patch], 1)
            count[patch[1:]] += 1
    return total / count


def pca_windows(images, alpha, sigma, threshold):
    """By the resolvent, without principal axes: A = a² S (s² + a² S)^-1."""
    vectors = images.reshape(len(images), -1)
    centred = vectors - vectors.mean(0)
    covariance = alpha**2 * centred.T @ centred / len(vectors)
    linear = covariance @ np.linalg.inv(sigma**2 * np.eye(len(covariance)) + covariance)
    ratio = np.abs(linear / np.diag(linear)[:, None])
    return ratio >= threshold * ratio.max()


def pca_locality(x, images, alpha, sigma, threshold):
    windows = pca_windows(images, alpha, sigma, threshold)
    differences = ((x - alpha * images) ** 2).reshape(len(images), -1)
    values = images.reshape(len(images), -1)
    x0_hat = [softmax(-(differences @ window) / (2 * sigma**2)) @ values[:, p] for p, window in enumerate(windows)]
    return np.array(x0_hat).reshape(x.shape)


def soft_window(x, images, alpha, sigma, window, rule):
    """Each pixel against each candidate of the rule, offset by offset."""
    _, height, width = x.shape
    radius = len(window) // 2

    def inside(p, side):
        return radius <= p < side - radius

    def admitted(p, q, side):
        return {
            "same position": p == q,
            "same border": p == q or (inside(p, side) and inside(q, side)),
            "anywhere": True,
            "anywhere inside": inside(q, side),
        }[rule]

    x0_hat = np.zeros_like(x)
    for row in range(height):
        for column in range(width):
            log_weights, values = [], []
            places = [(r, c) for r in range(height) for c in range(width)]
            for r, c in [(r, c) for r, c in places if admitted(row, r, height) and admitted(column, c, width)]:
                distances = np.zeros(len(images))
                for down in range(-radius, radius + 1):
                    for across in range(-radius, radius + 1):
                        p, p2, q, q2 = row + down, column + across, r + down, c + across
                        if rule.startswith("anywhere"):
                            p, p2, q, q2 = p % height, p2 % width, q % height, q2 % width
                        elif not (0 <= p < height and 0 <= p2 < width):
                            continue  # and then q, q2 lies outside too: both see nothing
                        gaps = x[:, p, p2] - alpha * images[:, :, q, q2]
                        distances += window[radius + down, radius + across] * (gaps**2).sum(1)
                log_weights.append(-distances / (2 * sigma**2))
                values.append(images[:, :, r, c])
            x0_hat[:, row, column] = softmax(np.concatenate(log_weights)) @ np.concatenate(values)
    return x0_hat
