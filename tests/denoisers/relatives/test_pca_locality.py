"""The windows that the data decide: their size follows noise and correlation."""

import pytest
import torch
from relative_cases import pca_windows

from patchmosaic.data.imageset import ImageSet
from patchmosaic.denoisers import IdealDenoiser, LocalDenoiser
from patchmosaic.denoisers.relatives import PCALocalityDenoiser
from patchmosaic.errors import ValueRangeError
from patchmosaic.noise import CosineSchedule

COSINE = CosineSchedule()


def correlated(n=400, side=9, seed=0):
    """A stationary line of pixels, correlation .8 from one to the next, as grey images of one row."""
    generator = torch.Generator().manual_seed(seed)
    line = [torch.randn(n, generator=generator)]
    while len(line) < side:
        line.append(0.8 * line[-1] + 0.6 * torch.randn(n, generator=generator))
    return (0.2 * torch.stack(line, 1)).clamp(-1, 1).view(n, 1, 1, side)


@pytest.mark.parametrize("t", [0.1, 0.4, 0.8])
def test_windows_are_those_of_the_wiener_filter(t):
    """The resolvent gives the same windows as principal axes; also for colour, and for fewer images than dimensions."""
    alpha, sigma = COSINE(t)
    for images in (correlated(), torch.rand(7, 3, 3, 2, generator=torch.Generator().manual_seed(0))):
        machine = PCALocalityDenoiser(ImageSet(images), 0.1)
        expected = pca_windows(images.double().numpy(), float(alpha), float(sigma), 0.1)
        assert (machine.windows(float(COSINE.snr(t))).numpy() == expected).all()


def test_windows_shrink_as_the_noise_does():
    machine = PCALocalityDenoiser(ImageSet(correlated()), 0.05)
    sizes = [int(machine.windows(precision).sum()) for precision in (0.01, 1.0, 100.0, 1e4, 1e6)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > 60
    assert sizes[-1] == 9  # in the end each pixel sees itself only
    middle = "".join("01"[seen] for seen in machine.windows(100.0)[4].tolist())
    assert 3 <= middle.count("1") <= 7
    assert "0" not in middle.strip("0")  # contiguous, as the correlations are


def test_between_seeing_everything_and_seeing_oneself():
    pool = ImageSet(correlated(20))
    x_t = torch.randn(3, 1, 1, 9, generator=torch.Generator().manual_seed(1)).double()
    everything = PCALocalityDenoiser(pool, 1e-9)(x_t, 0.4)
    torch.testing.assert_close(everything, IdealDenoiser(pool)(x_t, 0.4), rtol=0, atol=1e-10)
    itself = PCALocalityDenoiser(pool, 0.9)(x_t, 0.01)
    torch.testing.assert_close(itself, LocalDenoiser(pool, 1)(x_t, 0.01), rtol=0, atol=1e-10)


def test_pixels_that_never_change_see_only_themselves():
    images = correlated(20)
    images[..., 0] = -1
    machine = PCALocalityDenoiser(ImageSet(images), 0.05)
    seen = machine.windows(10.0)
    assert seen[0].tolist() == [True] + [False] * 8
    assert bool((machine(torch.zeros(1, 1, 1, 9).double(), 0.4)[..., 0] == -1).all())


@pytest.mark.parametrize("threshold", [0.0, -0.1, 1.5])
def test_a_threshold_is_a_share(threshold):
    with pytest.raises(ValueRangeError, match="threshold"):
        PCALocalityDenoiser(ImageSet(correlated(5)), threshold)
