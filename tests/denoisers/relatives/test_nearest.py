"""The sample is the training image nearest to where it starts."""

import pytest
import torch

from patchmosaic.data.imageset import ImageSet
from patchmosaic.denoisers.relatives import NearestDenoiser
from patchmosaic.noise import CosineSchedule, EDMSchedule, LinearBetaSchedule
from patchmosaic.sampling import sample, seeds


@pytest.mark.parametrize("steps", [1, 2, 7])
@pytest.mark.parametrize("schedule", [CosineSchedule(), EDMSchedule(), LinearBetaSchedule()], ids=["cosine", "EDM", "linear"])
def test_samples_are_the_images_nearest_to_x_T(schedule, steps):
    """Cells are convex and DDIM moves straight towards the image: the cell is never left."""
    images = torch.rand(60, 1, 2, 2, generator=torch.Generator().manual_seed(0)) * 2 - 1
    x_T = 0.3 * seeds(200, (1, 2, 2)).double() * schedule.prior_std()
    x0 = sample(NearestDenoiser(ImageSet(images), schedule=schedule), x_T, steps).x0
    alpha, _ = schedule(1.0)
    nearest = torch.cdist((x_T / alpha).flatten(1), images.double().flatten(1)).argmin(1)
    torch.testing.assert_close(x0, images[nearest].double(), rtol=0, atol=1e-9)


def test_float32_does_not_choose_the_wrong_one():
    """Two images that float32 distances cannot tell apart from here, decided by one bit of x_t."""
    images = torch.tensor([[0.5, 0.5], [0.5, -0.5]]).view(2, 1, 1, 2)
    x_t = torch.tensor([[1000.0, 1e-4], [1000.0, -1e-4]]).view(2, 1, 1, 2)
    result = NearestDenoiser(ImageSet(images), schedule=EDMSchedule())(x_t, 0.5)
    assert torch.equal(result, images)
