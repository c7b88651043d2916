"""The patch polynomial: a polynomial for each place of a window, against the same fitted to cut-out windows."""

import numpy as np
import pytest
import torch

from patchmosaic.data.imageset import ImageSet
from patchmosaic.denoisers.polynomial import PatchPolynomialDenoiser, RandomFeatureDenoiser
from patchmosaic.errors import PatchSizeError
from patchmosaic.locality import LocalityScale
from patchmosaic.noise import EDMSchedule

SCHEDULE = EDMSchedule()
SHAPE = (2, 5, 6)


def pool(n=25, shape=SHAPE):
    return ImageSet(torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (n, *shape)) ** 3))


def noisy(n=4, shape=SHAPE):
    return torch.from_numpy(np.random.default_rng(1).standard_normal((n, *shape)))


@pytest.mark.parametrize("degree", [1, 2, 3])
def test_each_pixel_is_predicted_from_its_window(degree):
    """The window of a pixel, moved inside the image where it would stick out, cut out of pool and query alike."""
    images, x_t = pool(), noisy()
    found = PatchPolynomialDenoiser(images, degree, 3, 20, schedule=SCHEDULE)(x_t, 0.4)
    for row in range(5):
        for column in range(6):
            top, left = min(max(row - 1, 0), 2), min(max(column - 1, 0), 3)
            cut = np.s_[:, :, top : top + 3, left : left + 3]
            alone = RandomFeatureDenoiser(ImageSet(images.images[cut]), degree, 20, schedule=SCHEDULE, limit=1e3)
            expected = alone(x_t[cut], 0.4)[:, :, row - top, column - left]
            torch.testing.assert_close(found[:, :, row, column], expected, rtol=1e-7, atol=1e-8)


def test_what_is_outside_the_window_is_not_seen():
    denoiser = PatchPolynomialDenoiser(pool(), 3, 3, 20)
    x_t = noisy(1)
    changed = x_t.clone()
    changed[:, :, :, 4:] += 1
    difference = (denoiser(changed, 0.5) - denoiser(x_t, 0.5)).abs().amax((0, 1))
    assert float(difference[:, :3].max()) == 0
    assert float(difference[:, 3].min()) > 0


@pytest.mark.parametrize("size", [7, 31])
def test_a_window_as_large_as_the_image_is_no_window(size):
    whole = RandomFeatureDenoiser(pool(), 3, 30)(noisy(), 0.3)
    torch.testing.assert_close(PatchPolynomialDenoiser(pool(), 3, size, 30)(noisy(), 0.3), whole, rtol=1e-12, atol=1e-12)


def test_windows_shrink_with_the_noise():
    scale = LocalityScale((0.1, 1.0, 10.0), (1, 3, 5))
    denoiser = PatchPolynomialDenoiser(pool(), 2, scale, 10, schedule=SCHEDULE)
    levels = torch.tensor([0.05, 0.9, 30.0], dtype=torch.float64)
    t = SCHEDULE.time_of_snr(levels**-2)
    together = denoiser(noisy(3), t)
    for i, size in enumerate((1, 3, 5)):
        alone = PatchPolynomialDenoiser(pool(), 2, size, 10, schedule=SCHEDULE)(noisy(3)[i : i + 1], t[i : i + 1])
        torch.testing.assert_close(together[i : i + 1], alone, rtol=1e-9, atol=1e-10)


def test_places_done_apart_are_done_alike(monkeypatch):
    whole = PatchPolynomialDenoiser(pool(), 2, 3, 10)(noisy(), 0.3)
    monkeypatch.setattr("patchmosaic.denoisers.polynomial.windows.AT_ONCE", 20_000)
    torch.testing.assert_close(PatchPolynomialDenoiser(pool(), 2, 3, 10)(noisy(), 0.3), whole, rtol=1e-10, atol=1e-11)


def test_even_windows_are_refused():
    with pytest.raises(PatchSizeError):
        PatchPolynomialDenoiser(pool(), 2, 4)
