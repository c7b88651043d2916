"""At most K things to say, the best K, and with as many as there are images: copies."""

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans

from patchmosaic.data.imageset import ImageSet
from patchmosaic.denoisers import IdealDenoiser
from patchmosaic.denoisers.bottleneck import CodebookDenoiser
from patchmosaic.denoisers.bottleneck.codebook import kmeans
from patchmosaic.errors import ValueRangeError
from patchmosaic.noise import CosineSchedule, EDMSchedule
from patchmosaic.sampling import sample, seeds

IMAGES = torch.rand(40, 1, 3, 3, generator=torch.Generator().manual_seed(0)) * 2 - 1
every_schedule = pytest.mark.parametrize("schedule", [EDMSchedule(), CosineSchedule()], ids=["EDM", "cosine"])


def draw(denoiser, count=300, steps=20):
    return sample(denoiser, seeds(count, denoiser.image_shape).double() * denoiser.schedule.prior_std(), steps).x0


def distinct(images):
    return len(torch.unique(images.flatten(1), dim=0))


@every_schedule
@pytest.mark.parametrize("codes", [1, 3, 10])
def test_there_are_no_more_outputs_than_codes(schedule, codes):
    """Acceptance 18, first half; and each is one of the codes of the last noise level, to the bit."""
    denoiser = CodebookDenoiser(ImageSet(IMAGES), codes, cloud=800, schedule=schedule)
    x0 = draw(denoiser)
    assert distinct(x0) <= codes
    is_code = (x0[:, None] == denoiser.codebook(1 / 20)).flatten(2).all(2)
    assert bool(is_code.any(1).all())
    assert distinct(draw(IdealDenoiser(ImageSet(IMAGES), schedule=schedule))) > codes  # else this shows nothing


@every_schedule
def test_as_many_codes_as_images_memorise(schedule):
    """Acceptance 18, second half: at least 99% of the samples are training images."""
    denoiser = CodebookDenoiser(ImageSet(IMAGES), len(IMAGES), cloud=800, schedule=schedule)
    x0 = draw(denoiser, steps=40)
    to_training = torch.cdist(x0.flatten(1), IMAGES.double().flatten(1)).amin(1)
    assert (to_training < 1e-3).double().mean() >= 0.99
    assert distinct(x0) > 10
    fewer = draw(CodebookDenoiser(ImageSet(IMAGES), 20, cloud=800, schedule=schedule), steps=40)
    distances = torch.cdist(fewer.flatten(1), IMAGES.double().flatten(1)).amin(1)
    assert (distances < 1e-3).double().mean() < 0.9  # twenty codes for forty images: some are means


def test_one_code_is_the_mean_of_the_posterior_means():
    """E D* = E x0: the mean of the pool, but for the finite cloud."""
    denoiser = CodebookDenoiser(ImageSet(IMAGES), 1, cloud=4000)
    for t in (0.05, 0.5, 0.9):
        mean = denoiser.posterior_means(t).mean(0)
        torch.testing.assert_close(denoiser.codebook(t)[0], mean, rtol=0, atol=1e-12)
        torch.testing.assert_close(mean, IMAGES.double().mean(0), rtol=0, atol=0.05)


@pytest.mark.parametrize("t", [0.2, 0.4])
def test_pythagoras(t):
    """E|x0 - g|² = E|x0 - D*|² + E|D* - g|², with clean and noisy images drawn here."""
    schedule, count = CosineSchedule(), 20000
    rng = np.random.default_rng(1)
    x0 = IMAGES.double()[torch.from_numpy(rng.integers(0, 40, count))]
    alpha, sigma = schedule(t)
    x_t = alpha * x0 + sigma * torch.from_numpy(rng.standard_normal(x0.shape))
    g = CodebookDenoiser(ImageSet(IMAGES), 5, schedule=schedule)(x_t, t)
    best = IdealDenoiser(ImageSet(IMAGES), schedule=schedule)(x_t, t)

    def error(a, b):
        return float((a - b).square().flatten(1).sum(1).mean())

    assert error(x0, g) == pytest.approx(error(x0, best) + error(best, g), rel=0.02)
    assert error(best, g) > 0.05 * error(x0, best)


def test_the_codes_are_as_good_as_those_of_another_library():
    """Mean squared distance of the posterior means to their codes, beside ten starts of scikit-learn's K-means."""
    denoiser = CodebookDenoiser(ImageSet(IMAGES), 8, cloud=2000)
    for t in (0.1, 0.4):
        cloud = denoiser.posterior_means(t).flatten(1)
        mine = torch.cdist(cloud, denoiser.codebook(t).flatten(1)).amin(1).square().sum()
        theirs = KMeans(8, n_init=10, random_state=0).fit(cloud.numpy()).inertia_
        assert float(mine) <= 1.15 * theirs


def test_with_labels_the_codes_are_those_of_the_class():
    labels = torch.tensor([0, 1] * 20)
    both = CodebookDenoiser(ImageSet(IMAGES, labels), 4, cloud=400)
    x_t = torch.randn(6, 1, 3, 3, generator=torch.Generator().manual_seed(0)).double()
    asked = torch.tensor([1, 0, 1, 1, 0, 0])
    result = both(x_t, 0.3, asked)
    for label in (0, 1):
        alone = CodebookDenoiser(ImageSet(IMAGES[labels == label]), 4, cloud=400)
        torch.testing.assert_close(result[asked == label], alone(x_t[asked == label], 0.3), rtol=0, atol=1e-12)


def test_equal_descriptions_equal_answers_whatever_was_asked_before():
    first, second = (CodebookDenoiser(ImageSet(IMAGES), 6, cloud=300) for _ in range(2))
    x_t = torch.randn(3, 1, 3, 3, generator=torch.Generator().manual_seed(0)).double()
    for t in (0.9, 0.1, 0.5):
        first(x_t, t)
    assert torch.equal(first(x_t, 0.3), second(x_t, 0.3))
    assert first.describe() == second.describe()
    assert CodebookDenoiser(ImageSet(IMAGES), 6, cloud=300, seed=1).describe() != first.describe()


def test_fewer_different_points_than_centres():
    points = torch.tensor([[0.0, 1.0], [2.0, 3.0], [0.0, 1.0]]).double()
    centres = kmeans(points, 3)
    assert sorted(centres.tolist()) == [[0.0, 1.0], [2.0, 3.0]]


def test_centres_on_the_line_are_the_best_there_are():
    """Every partition of sorted points into two intervals, tried."""
    points = torch.cat([torch.randn(30), 4 + torch.randn(20)]).double().sort().values
    centres = kmeans(points[:, None], 2)
    mine = (points[:, None] - centres.T).abs().amin(1).square().sum()
    cuts = [points[:i].var(correction=0) * i + points[i:].var(correction=0) * (50 - i) for i in range(1, 50)]
    assert float(mine) == pytest.approx(float(min(cuts)), rel=1e-9)


@pytest.mark.parametrize(("codes", "cloud"), [(0, 10), (11, 10)])
def test_bad_numbers_of_codes_are_refused(codes, cloud):
    with pytest.raises(ValueRangeError):
        CodebookDenoiser(ImageSet(IMAGES), codes, cloud=cloud)
