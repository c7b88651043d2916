"""Square windows are the machines; what a soft one adds; what is refused."""

import math

import pytest
import torch

from patchmosaic.data.imageset import ImageSet
from patchmosaic.denoisers import BoundaryBrokenDenoiser, EquivariantLocalDenoiser, IdealDenoiser, LocalDenoiser
from patchmosaic.denoisers.relatives import SoftWindowDenoiser, gaussian_window, nested_squares
from patchmosaic.errors import NoiseLevelError, PatchSizeError, ValueRangeError
from patchmosaic.noise import CosineSchedule

POOL = ImageSet(torch.rand(5, 2, 6, 7, generator=torch.Generator().manual_seed(0)) * 2 - 1)
X_T = torch.randn(3, 2, 6, 7, generator=torch.Generator().manual_seed(1)).double()
TIMES = torch.tensor([0.05, 0.4, 0.9], dtype=torch.float64)
MACHINES = {
    "same position": LocalDenoiser,
    "same border": BoundaryBrokenDenoiser,
    "anywhere": EquivariantLocalDenoiser,
    "anywhere inside": lambda pool, size: EquivariantLocalDenoiser(pool, size, training_padding="valid"),
}
every_rule = pytest.mark.parametrize("rule", MACHINES)


@every_rule
@pytest.mark.parametrize("patch_size", [1, 3, 5, 13])
def test_a_square_window_is_the_machine(rule, patch_size):
    if rule.startswith("anywhere") and patch_size > 6:
        pytest.skip("larger than the torus")
    expected = MACHINES[rule](POOL, patch_size)(X_T, TIMES)
    result = SoftWindowDenoiser(POOL, nested_squares({patch_size: 1.0}), rule)(X_T, TIMES)
    torch.testing.assert_close(result, expected, rtol=0, atol=1e-10)


@every_rule
def test_a_border_of_zeros_changes_nothing_but_what_counts_as_border(rule):
    framed = torch.zeros(5, 5)
    framed[1:4, 1:4] = 1
    small = SoftWindowDenoiser(POOL, nested_squares({3: 1.0}), rule)(X_T, TIMES)
    large = SoftWindowDenoiser(POOL, framed, rule)(X_T, TIMES)
    agree = rule in ("same position", "anywhere")
    assert torch.allclose(small, large, rtol=0, atol=1e-10) == agree


def test_precision_is_precision():
    """A window of 4 instead of 1 is half the noise: IS at another time."""
    cosine = CosineSchedule()
    alpha, _ = cosine(TIMES)
    halved = cosine.time_of_snr(4 * cosine.snr(TIMES))
    scale = (cosine(halved)[0] / alpha)[:, None, None, None]
    covering = SoftWindowDenoiser(POOL, 4 * torch.ones(13, 13))
    torch.testing.assert_close(covering(X_T, TIMES), IdealDenoiser(POOL)(X_T * scale, halved), rtol=0, atol=1e-9)


def test_a_gaussian_window_goes_from_one_pixel_to_the_whole_image():
    for width, expected in [(0.05, LocalDenoiser(POOL, 1)), (1e5, IdealDenoiser(POOL))]:
        result = SoftWindowDenoiser(POOL, gaussian_window(width, 13))(X_T, TIMES)
        torch.testing.assert_close(result, expected(X_T, TIMES), rtol=0, atol=1e-6)
    window = gaussian_window(1.5, 5)
    assert window[2, 2] == 1
    assert window[0, 1] == pytest.approx(math.exp(-(4 + 1) / (2 * 1.5**2)), rel=1e-14)


@every_rule
def test_each_sample_takes_the_window_of_its_own_noise(rule):
    windows = {0.08: gaussian_window(0.7, 3), 8.0: gaussian_window(2.0, 5), 0.75: nested_squares({3: 1.0, 1: 2.0})}
    mixed = SoftWindowDenoiser(POOL, windows, rule)(X_T, TIMES)  # noise levels .08, .72, 6.1
    for sample, window in enumerate([windows[0.08], windows[0.75], windows[8.0]]):
        alone = SoftWindowDenoiser(POOL, window, rule)(X_T[sample : sample + 1], TIMES[sample])
        torch.testing.assert_close(mixed[sample : sample + 1], alone, rtol=0, atol=1e-12)


def test_nested_squares_add_up():
    window = nested_squares({3: 1.0, 5: 0.25, 1: 2.0})
    assert window.shape == (5, 5)
    assert window[0].tolist() == [0.25] * 5
    assert window[2].tolist() == [0.25, 1.25, 3.25, 1.25, 0.25]


@pytest.mark.parametrize(
    ("window", "rule", "error"),
    [
        (torch.ones(4, 4), "same position", PatchSizeError),
        (torch.ones(3, 5), "same position", PatchSizeError),
        (torch.ones(7, 7), "anywhere", PatchSizeError),
        (torch.ones(7, 7), "anywhere inside", PatchSizeError),
        (-torch.ones(3, 3), "same position", ValueRangeError),
        (torch.full((3, 3), math.nan), "same position", ValueRangeError),
        ({}, "same position", NoiseLevelError),
        ({0.0: torch.ones(3, 3)}, "same position", NoiseLevelError),
    ],
)
def test_bad_windows_are_refused(window, rule, error):
    with pytest.raises(error):
        SoftWindowDenoiser(POOL, window, rule)


def test_bad_settings_of_windows_are_refused():
    with pytest.raises(ValueRangeError):
        gaussian_window(0.0, 3)
    with pytest.raises(PatchSizeError):
        gaussian_window(1.0, 4)
    with pytest.raises(PatchSizeError):
        nested_squares({})
    with pytest.raises(PatchSizeError):
        nested_squares({4: 1.0})
