"""A sample is x_T and the x0_hats seen on the way, weighed by the schedule alone: true of every denoiser."""

import pytest
import torch

from patchmosaic.data.imageset import ImageSet
from patchmosaic.denoisers import IdealDenoiser
from patchmosaic.denoisers.bottleneck import (
    CodebookDenoiser,
    LinearEncoderDenoiser,
    ManifoldDenoiser,
    Sphere,
)
from patchmosaic.sampling import sample, seeds
from schedule_cases import EVERY

POOL = ImageSet(torch.rand(12, 1, 2, 2, generator=torch.Generator().manual_seed(0)) * 2 - 1)
BOTTLENECKS = {
    "linear encoder": lambda schedule: LinearEncoderDenoiser(POOL, 2, schedule=schedule),
    "codes": lambda schedule: CodebookDenoiser(POOL, 3, cloud=60, schedule=schedule),
    "manifold": lambda schedule: ManifoldDenoiser(IdealDenoiser(POOL, schedule=schedule), Sphere(0.5)),
}


@pytest.mark.parametrize("bottleneck", BOTTLENECKS)
@pytest.mark.parametrize("schedule", EVERY, ids=lambda schedule: type(schedule).__name__)
def test_ddim_unrolls(bottleneck, schedule):
    """Acceptance 19: x_n / sigma_n = x_T / sigma_T + sum_j D_j (alpha_{j+1} / sigma_{j+1} - alpha_j / sigma_j), 1e-12."""
    trajectory = sample(BOTTLENECKS[bottleneck](schedule), seeds(5, (1, 2, 2)).double() * schedule.prior_std(), 12)
    alpha, sigma = (scale[:, None, None, None, None] for scale in schedule(trajectory.times))
    seen = (alpha / sigma).diff(dim=0) * trajectory.x0_hats[:-1]
    unrolled = trajectory.states[0] / sigma[0] + seen.cumsum(0)
    states = trajectory.states[1:-1] / sigma[1:]
    torch.testing.assert_close(states, unrolled, rtol=1e-12, atol=1e-12 * float(states.abs().max()))
    assert torch.equal(trajectory.x0, trajectory.x0_hats[-1])  # and so the sample lies in the range of the last decoder
