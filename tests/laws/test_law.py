"""The contract of laws: what samples are compared with, and what is refused."""

import json

import numpy as np
import pytest
import scipy.stats
import torch

from patchmosaic.data.imageset import ImageSet
from patchmosaic.denoisers import EquivariantDenoiser, WienerDenoiser
from patchmosaic.errors import LabelError, PatchMosaicError, ShapeError, ValueRangeError
from patchmosaic.laws import generated_law
from patchmosaic.laws.base import Law
from patchmosaic.laws.line import NormalLine, kolmogorov_smirnov, wasserstein
from patchmosaic.sampling import sample, seeds

SHAPE = (2, 3, 4)
RNG = np.random.default_rng(0)


def pool(labels=None):
    vectors = np.tanh(RNG.standard_normal((40, 24)) @ RNG.standard_normal((24, 24)) / 12)
    return ImageSet(torch.from_numpy(vectors).reshape(40, *SHAPE), labels)


# On the line.


@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (-2.5, 0.03)])
def test_the_normal_line_is_scipys(mean, std):
    line, known = NormalLine(mean, std), scipy.stats.norm(mean, std)
    x, p = np.linspace(mean - 4 * std, mean + 4 * std, 30), np.linspace(0.001, 0.999, 30)
    np.testing.assert_allclose(line.cdf(x), known.cdf(x), rtol=1e-10)
    np.testing.assert_allclose(line.ppf(p), known.ppf(p), rtol=1e-10)
    np.testing.assert_allclose(line.pdf(x), known.pdf(x), rtol=1e-10)


def test_a_single_point():
    line = NormalLine(2.0, 0.0)
    assert line.cdf(np.array([1.9, 2.0, 2.1])).tolist() == [0, 1, 1]
    assert line.ppf(np.array([0.1, 0.9])).tolist() == [2, 2]
    assert kolmogorov_smirnov(line, np.array([2.0, 2.0])) == 0
    assert kolmogorov_smirnov(line, np.array([2.0, 2.0, 1.0, 3.0])) == 0.25
    with pytest.raises(PatchMosaicError, match="no density"):
        line.pdf(np.array([2.0]))


def test_kolmogorov_smirnov_is_scipys_where_nothing_is_tied():
    samples = RNG.standard_normal(57) + 0.2
    assert kolmogorov_smirnov(NormalLine(0.0, 1.0), samples) == pytest.approx(scipy.stats.kstest(samples, "norm").statistic)


def test_kolmogorov_smirnov_of_atoms_is_the_largest_gap():
    class Coin:
        cdf, ppf = staticmethod(scipy.stats.bernoulli(0.3).cdf), staticmethod(scipy.stats.bernoulli(0.3).ppf)
        pdf = staticmethod(np.zeros_like)

    assert kolmogorov_smirnov(Coin(), np.array([0.0] * 6 + [1.0] * 4)) == pytest.approx(0.1)
    assert wasserstein(Coin(), np.array([0.0] * 6 + [1.0] * 4)) == pytest.approx(0.1)


def test_wasserstein_of_a_shift_is_the_shift():
    quantiles = scipy.stats.norm.ppf((np.arange(1000) + 0.5) / 1000)
    assert wasserstein(NormalLine(0.0, 1.0), quantiles) == pytest.approx(0, abs=1e-12)
    assert wasserstein(NormalLine(0.0, 1.0), quantiles + 0.37) == pytest.approx(0.37)


# Samples beside a law.


def test_samples_agree_with_their_law_and_not_with_another():
    denoiser = WienerDenoiser(pool())
    x_T = torch.from_numpy(np.random.default_rng(1).standard_normal((4000, *SHAPE))) * denoiser.schedule.prior_std()
    drawn = sample(denoiser, x_T, 5).x0
    own, other = generated_law(denoiser, 5).compare(drawn), generated_law(denoiser, None).compare(drawn)
    assert own.count == 4000
    assert own.ks.shape == own.wasserstein.shape == (8,)
    assert own.ks.max() < 2 / np.sqrt(4000) < other.ks.max()
    assert own.wasserstein.max() < 0.03 < other.wasserstein.max()
    assert own.variance_ratio == pytest.approx(1, abs=0.03)
    assert other.variance_ratio < 0.9
    assert own.mean_error < 0.03
    assert own.covariance_error < 0.1 < other.covariance_error
    assert own.spectrum_error < 0.05 < other.spectrum_error
    assert own.off_support < 1e-8
    assert json.loads(json.dumps(own.to_json()))["count"] == 4000


def test_directions_may_be_chosen():
    denoiser = WienerDenoiser(pool())
    law, drawn = generated_law(denoiser, 5), sample(denoiser, seeds(300, SHAPE).double(), 5).x0
    directions = torch.eye(24, dtype=torch.float64)[:2].view(-1, *SHAPE)
    found = law.compare(drawn, directions)
    for k in range(2):
        values = drawn.flatten(1)[:, k].numpy()
        normal = scipy.stats.norm(law.mean().flatten()[k].item(), law.covariance()[k, k].sqrt().item())
        assert found.ks[k].item() == pytest.approx(scipy.stats.kstest(values, normal.cdf).statistic)


def test_the_spectrum_of_any_law_comes_from_its_covariance():
    law = generated_law(WienerDenoiser(pool()), 5)
    torch.testing.assert_close(Law.spectrum(law), law.spectrum())
    assert law.spectrum().sum().item() == pytest.approx(law.covariance().trace().item())


def test_a_law_on_the_line():
    images = ImageSet(torch.tensor([-0.7, -0.1, 0.2, 0.9])[:, None, None, None])
    law = generated_law(WienerDenoiser(images), None)
    line = law.line()
    assert line.std == pytest.approx(law.covariance().item() ** 0.5)
    with pytest.raises(ShapeError, match="one number"):
        generated_law(WienerDenoiser(pool())).line()


def test_each_class_has_its_law():
    images = pool([0] * 25 + [4] * 15)
    law = generated_law(WienerDenoiser(images), 6, label=4)
    alone = generated_law(WienerDenoiser(images.subset(images.labels == 4)), 6)
    torch.testing.assert_close(law.covariance(), alone.covariance())
    torch.testing.assert_close(law.mean(), alone.mean())
    with pytest.raises(LabelError, match="no images of this class"):
        generated_law(WienerDenoiser(images), label=1)


def test_what_is_refused():
    with pytest.raises(PatchMosaicError, match=r"not known .*, got EquivariantDenoiser\. Known: .*LinearDenoiser"):
        generated_law(EquivariantDenoiser(pool()))
    wiener = WienerDenoiser(pool())
    with pytest.raises(ValueRangeError, match="eta"):
        generated_law(wiener, eta=1.5)
    with pytest.raises(ValueRangeError, match="standard deviation"):
        generated_law(wiener, std=-1.0)
    with pytest.raises(PatchMosaicError, match="deterministic"):
        generated_law(wiener, solver="heun", eta=0.5)
    with pytest.raises(PatchMosaicError, match="at least one step"):
        generated_law(wiener, 0)
    with pytest.raises(ShapeError, match="samples must be images"):
        generated_law(wiener).compare(seeds(3, (1, 3, 4)))
    with pytest.raises(ShapeError, match="at least two"):
        generated_law(wiener).compare(seeds(1, SHAPE))
