"""Streamed moments against numpy on all of the data at once."""

import numpy as np
import pytest
import torch

from patchmosaic.engine import memory, moments

RNG = np.random.default_rng(0)
IMAGES = torch.from_numpy(RNG.uniform(-1, 1, (23, 2, 4, 3)))
INDEX = torch.tensor([3, 4, 4, 19, 0])


@pytest.fixture(params=["one block", "three images a block"])
def _blocks(request, monkeypatch):
    if request.param != "one block":
        monkeypatch.setattr(memory, "SCAN_BYTES", 3 * 8 * IMAGES[0].numel())


@pytest.mark.usefixtures("_blocks")
@pytest.mark.parametrize("index", [None, INDEX], ids=["all", "some"])
def test_mean_and_covariance(index):
    vectors = IMAGES.flatten(1)
    chosen = vectors.numpy() if index is None else vectors.numpy()[index]
    mean, covariance = moments.fit_covariance(vectors, index)
    np.testing.assert_allclose(mean, chosen.mean(0), atol=1e-14)
    np.testing.assert_allclose(covariance, np.cov(chosen.T, bias=True), atol=1e-14)


def test_bytes_stand_for_numbers():
    stored = torch.from_numpy(RNG.integers(0, 256, (9, 5)).astype(np.uint8))
    mean, covariance = moments.fit_covariance(stored)
    numbers = (stored.numpy() / np.float32(127.5) - np.float32(1)).astype(np.float64)
    np.testing.assert_allclose(mean, numbers.mean(0), atol=1e-7)
    np.testing.assert_allclose(covariance, np.cov(numbers.T, bias=True), atol=1e-7)


@pytest.mark.usefixtures("_blocks")
@pytest.mark.parametrize("index", [None, INDEX], ids=["all", "some"])
def test_the_autocovariance_is_the_mean_over_images_and_translates(index):
    chosen = IMAGES.numpy() if index is None else IMAGES.numpy()[index]
    mean, spectrum = moments.fit_spectrum(IMAGES, index)
    np.testing.assert_allclose(mean, chosen.mean((0, 2, 3)), atol=1e-14)
    centred = chosen - chosen.mean((0, 2, 3))[:, None, None]
    found = moments.autocovariance(spectrum)
    for down in range(4):
        for right in range(3):
            moved = np.roll(centred, (-down, -right), axis=(2, 3))  # moved(p) = centred(p + d)
            expected = np.einsum("nahw,nbhw->ab", moved, centred) / (len(chosen) * 12)
            np.testing.assert_allclose(found[down, right], expected, atol=1e-14)
    torch.testing.assert_close(moments.spectrum_of(found), spectrum, rtol=0, atol=1e-13)


def test_the_power_spectrum_holds_the_variance_of_each_pixel():
    _, spectrum = moments.fit_spectrum(IMAGES)
    centred = IMAGES - IMAGES.mean((0, 2, 3), keepdim=True)
    power = spectrum.diagonal(dim1=2, dim2=3).real
    torch.testing.assert_close(power.mean((0, 1)), (centred**2).mean((0, 2, 3)))
