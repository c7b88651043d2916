"""Information against an integral, against a theorem, and against capacity."""

import json
import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad

from patchmosaic.analysis import information as module
from patchmosaic.analysis.information import Information, information
from patchmosaic.data import load
from patchmosaic.data.imageset import ImageSet
from patchmosaic.errors import LabelError, NoiseLevelError, PatchMosaicError, PatchSizeError
from patchmosaic.noise import EDMSchedule

SCHEDULE = EDMSchedule(sigma_max=20.0)


def entropy_of_two(distance, noise_level):
    """Expected entropy of the belief between two equally likely signals that far apart, in Gaussian noise.

    The log-odds of the true one are Gaussian, with mean d²/2 and variance d², d = distance / noise level.
    """
    d = distance / noise_level

    def binary_entropy(log_odds):
        p = 1 / (1 + math.exp(-abs(log_odds)))
        return 0.0 if p == 1 else -p * math.log(p) - (1 - p) * math.log1p(-p)

    def integrand(z):
        return math.exp(-z * z / 2) / math.sqrt(2 * math.pi) * binary_entropy(d * d / 2 + d * z)

    return quad(integrand, -10, 10, limit=200)[0]


def test_two_images_are_a_binary_channel(monkeypatch):
    """Whatever the window: what counts is how far apart the two are inside it."""
    monkeypatch.setattr(module, "AT_ONCE", 400)
    apart = 0.5 * torch.tensor([1.0, -1.0])[:, None, None, None].expand(2, 1, 3, 3)
    levels, sizes = (0.5, 1.0, 2.0), (1, 3, 5)
    found = information(ImageSet(apart), "LS", levels, sizes, draws=400, schedule=SCHEDULE)
    for i, level in enumerate(levels):
        for j, size in enumerate(sizes):
            inside = [min(r + size // 2, 2) - max(r - size // 2, 0) + 1 for r in range(3)]
            pixels = np.outer(inside, inside).flatten()  # seen by each window, each 1 apart
            expected = math.log(2) - np.mean([entropy_of_two(math.sqrt(count), level) for count in pixels])
            error = 4 * float(found.standard_error[i, j]) + 1e-4
            assert float(found.information[i, j]) == pytest.approx(expected, abs=error)
    assert float(found.standard_error.max()) < 0.02


def white(count, side, std=0.2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return ImageSet((std * torch.randn((count, 1, side, side), generator=generator)).clamp(-1, 1))


def test_white_pixels_are_decided_where_capacity_reaches_ln_D():
    """Windows on the torus all have P² pixels. Shannon's threshold is sharp for large windows; here it is good to a pixel."""
    pool, sizes = white(40, 9), (1, 3, 5, 7, 9)
    levels = (0.05, 0.1, 0.2, 0.3, 0.4)
    found = information(pool, "ELS", levels, sizes, draws=4, schedule=SCHEDULE)
    assert found.ln_candidates.unique().tolist() == pytest.approx([math.log(40 * 81)])
    for measured, predicted in zip(found.critical_sizes(), found.white_critical_sizes(), strict=True):
        assert measured == pytest.approx(predicted, abs=1.0)
    capacity = 0.5 * torch.tensor(sizes) ** 2 * (1 + (0.2 / torch.tensor(levels)[:, None]) ** 2).log()
    most = capacity.clamp(max=math.log(40 * 81))
    assert bool((found.information < most + 4 * found.standard_error + 0.02).all())
    assert float((most - found.information).max()) < 1.5  # near the threshold it falls short, as a finite code does


@pytest.mark.parametrize("machine", ["LS", "ELS", "bbELS"])
def test_information_is_below_its_bounds(machine):
    pool = load("digits", None, limit=60)
    found = information(pool, machine, (0.1, 0.5, 1.0, 3.0), (1, 3, 15), draws=8, schedule=SCHEDULE)
    slack = 4 * found.standard_error + 1e-3
    assert bool((found.information <= found.gaussian + slack).all())
    assert bool((found.information <= found.ln_candidates + 1e-9).all())
    assert bool((found.information >= -slack).all())
    assert bool((found.information.diff(dim=0) <= slack[1:]).all())  # less is told through more noise
    white_bound = 0.5 * torch.tensor([1, 9]) * (1 + (found.value_std / torch.tensor(found.noise_levels)[:, None]) ** 2).log()
    assert bool((found.gaussian[:, :2] <= white_bound + 1e-6).all())
    json.dumps(found.to_json(), allow_nan=False)


def test_critical_sizes_and_onsets_are_read_between_the_measured():
    decided = torch.tensor([[[0.0, 1.0, 1.0], [0.0, 0.25, 0.75], [0.0, 0.0, 0.4]]], dtype=torch.float64)
    most = torch.full((3, 3), 4.0, dtype=torch.float64)
    found = Information("LS", (0.1, 1.0, 10.0), (1, 3, 5), most, 1 - decided, decided, (2 * most * decided)[0], 0.5, 1, 8)
    half_way = [pytest.approx(5**0.5), pytest.approx(17**0.5), None]  # by area: half way between 1 and 9, and 9 and 25
    assert found.critical_sizes() == half_way
    assert found.gaussian_critical_sizes() == half_way
    assert found.onsets() == {
        1: None,
        3: pytest.approx(10 ** (-1 + 2 / 3)),
        5: pytest.approx(10 ** (0.25 / 0.35)),
    }
    assert float(found.information[0, 1]) == pytest.approx(4.0)


def test_a_known_class_leaves_fewer_candidates():
    images, labels = white(9, 3).images, [0, 0, 0, 0, 0, 0, 1, 1, 1]
    found = information(ImageSet(images, labels), "LS", (0.01,), (1,), draws=9, conditional=True, schedule=SCHEDULE)
    assert float(found.ln_candidates) == pytest.approx((6 * math.log(6) + 3 * math.log(3)) / 9)


def test_finished_draws_are_not_seen_again(tmp_path, monkeypatch):
    pool = white(6, 3)
    first = information(pool, "LS", (0.1, 1.0), (1, 3), draws=3, keep=tmp_path)
    traced = []
    right = module.trace
    monkeypatch.setattr(
        module, "trace", lambda one, x_t, *rest, **options: (traced.append(len(x_t)), right(one, x_t, *rest, **options))[1]
    )
    assert information(pool, "LS", (0.1, 1.0), (1, 3), draws=3, keep=tmp_path).to_json() == first.to_json()
    assert traced == []
    more = information(pool, "LS", (0.1, 1.0), (1, 3), draws=5, keep=tmp_path)
    assert traced == [2] * 4
    torch.testing.assert_close(more.entropy[:3], first.entropy)


def test_what_cannot_be_measured_is_refused():
    pool = white(6, 3)
    with pytest.raises(PatchMosaicError, match="LS, ELS or bbELS"):
        information(pool, "IS", (0.1,), (1,))
    with pytest.raises(NoiseLevelError, match="rise"):
        information(pool, "LS", (1.0, 0.1), (1,))
    with pytest.raises(NoiseLevelError, match="Up to 20"):
        information(pool, "LS", (0.1, 30.0), (1,), schedule=SCHEDULE)
    with pytest.raises(PatchSizeError, match="rise"):
        information(pool, "LS", (0.1,), (3, 1))
    with pytest.raises(PatchSizeError, match="odd"):
        information(pool, "LS", (0.1,), (2,))
    with pytest.raises(LabelError, match="needs labels"):
        information(pool, "LS", (0.1,), (1,), conditional=True)
    with pytest.raises(PatchMosaicError, match="one draw"):
        information(pool, "LS", (0.1,), (1,), draws=0)
