"""The Wiener denoiser: what makes it Wiener's, beyond agreeing with the oracle in test_machines."""

import numpy as np
import pytest
import torch
from machine_cases import images, labelled, noisy, relative_errors

from patchmosaic.data.imageset import ImageSet
from patchmosaic.denoisers import WienerDenoiser
from patchmosaic.engine import oracle
from patchmosaic.engine.moments import fit_gaussian
from patchmosaic.noise import CosineSchedule

SHAPES = {"fewer images than pixels": (5, 6, 5), "more images than pixels": (150, 3, 4), "one image": (1, 6, 5)}


@pytest.mark.parametrize(("count", "height", "width"), SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_matches_the_oracle_by_either_route(count, height, width, dtype):
    pool = images(n=count, height=height, width=width)
    t = torch.tensor([0.02, 0.3, 0.7, 1.0], dtype=torch.float64)
    x_t = noisy(images(seed=1, n=4, height=height, width=width), CosineSchedule(), t, dtype=dtype)
    result = WienerDenoiser(ImageSet(pool))(x_t, t)
    for x, time, x0_hat in zip(x_t, t, result, strict=True):
        alpha, sigma = (scale.item() for scale in CosineSchedule()(time))
        expected = oracle.wiener(x[None].double().numpy(), pool.numpy(), alpha, sigma)
        assert relative_errors(x0_hat[None], expected).max() < (1e-6 if dtype == torch.float32 else 1e-10)


@pytest.mark.parametrize(("count", "height", "width"), SHAPES.values(), ids=SHAPES)
def test_the_fit_is_the_covariance_with_divisor_n(count, height, width):
    vectors = images(n=count, height=height, width=width).flatten(1).double()
    mean, axes, variances = fit_gaussian(vectors)
    np.testing.assert_allclose(mean, vectors.numpy().mean(0), atol=1e-14)
    rebuilt = (axes * variances) @ axes.T
    np.testing.assert_allclose(rebuilt, np.cov(vectors.numpy().T, bias=True) if count > 1 else 0 * rebuilt, atol=1e-12)
    assert variances.shape[0] <= min(count, vectors.shape[1])
    torch.testing.assert_close(axes.T @ axes, torch.eye(axes.shape[1], dtype=torch.float64), rtol=0, atol=1e-6)


def test_no_affine_denoiser_does_better_on_its_own_data():
    """Least squares on many noisy copies, an empirical optimum, comes no lower than Wiener's expected error allows."""
    pool = images(n=40, channels=1, height=2, width=3)
    t, copies = 0.4, 500
    x0 = pool.repeat(copies, 1, 1, 1)
    x_t = noisy(x0, CosineSchedule(), t)
    wiener = WienerDenoiser(ImageSet(pool))(x_t, t)
    design = np.column_stack([x_t.flatten(1).numpy(), np.ones(len(x0))])
    fitted, *_ = np.linalg.lstsq(design, x0.flatten(1).double().numpy(), rcond=None)
    best = ((design @ fitted - x0.flatten(1).numpy()) ** 2).mean()
    ours = ((wiener - x0) ** 2).mean().item()
    assert best <= ours <= best * 1.003
    np.testing.assert_allclose(wiener.flatten(1).numpy(), design @ fitted, atol=0.05)


def test_a_class_is_fitted_on_its_own():
    pool = labelled(9)
    x_t = noisy(pool.images[:3], CosineSchedule(), 0.4)
    denoiser = WienerDenoiser(pool)
    together = denoiser(x_t, 0.4, torch.tensor([3, 7, 3]))
    for i, label in enumerate((3, 7, 3)):
        alone = WienerDenoiser(ImageSet(pool.images[pool.labels == label]))(x_t[i : i + 1], 0.4)
        torch.testing.assert_close(together[i : i + 1], alone, rtol=1e-10, atol=1e-10)


def test_it_stays_on_the_device_it_was_sent_to():
    denoiser = WienerDenoiser(labelled())
    before = denoiser(torch.zeros(1, 2, 6, 5), 0.5)
    assert denoiser.to("cpu") is denoiser
    assert denoiser.device == torch.device("cpu")
    assert torch.equal(denoiser(torch.zeros(1, 2, 6, 5), 0.5), before)
