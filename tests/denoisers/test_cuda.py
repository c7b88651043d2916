"""The same answers on a GPU. Skipped where there is none."""

import pytest
import torch
from machine_cases import MACHINES, PATCH, labelled, noisy
from torch import nn

from patchmosaic.calibration import calibrate
from patchmosaic.comparison import compare
from patchmosaic.denoisers import LocalDenoiser, NetworkDenoiser, WienerDenoiser
from patchmosaic.errors import ShapeError
from patchmosaic.generation import generate
from patchmosaic.locality import LocalityScale
from patchmosaic.noise import CosineSchedule

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")

COSINE = CosineSchedule()
TIMES = torch.tensor([0.02, 0.2, 0.5, 0.9, 1.0], dtype=torch.float64)
POOL = labelled(12, height=8, width=7)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("patch_size", [1, 3, 7])
@pytest.mark.parametrize("labels", [None, torch.tensor([3, 7, 7, 3, 7])])
@pytest.mark.parametrize("machine", MACHINES)
def test_every_machine_answers_as_on_the_cpu(machine, patch_size, labels, dtype):
    x_t = noisy(POOL.images[:5], COSINE, TIMES, dtype=dtype)
    expected = MACHINES[machine].build(POOL, patch_size)(x_t, TIMES, labels)
    denoiser = MACHINES[machine].build(POOL, patch_size).to("cuda")
    assert denoiser.device.type == "cuda"
    for times in (TIMES, TIMES.cuda()):
        result = denoiser(x_t.cuda(), times, labels)
        assert result.device == denoiser.device
        torch.testing.assert_close(result.cpu(), expected, rtol=0, atol=1e-5 if dtype == torch.float32 else 1e-9)
    torch.testing.assert_close(denoiser.to("cpu")(x_t, TIMES, labels), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("machine", PATCH)
def test_patch_sizes_and_scales_answer_as_on_the_cpu(machine):
    x_t = noisy(POOL.images[:5], COSINE, TIMES, dtype=torch.float32)
    scale = LocalityScale((0.1, 1.0, 10.0), (1, 3, 7))
    cpu = MACHINES[machine].build(POOL, scale)
    cuda = MACHINES[machine].build(POOL, scale).to("cuda")
    torch.testing.assert_close(cuda(x_t.cuda(), TIMES).cpu(), cpu(x_t, TIMES), rtol=0, atol=1e-5)
    at_sizes = cuda.at_patch_sizes(x_t.cuda(), TIMES, [3, 1, 7]).cpu()
    torch.testing.assert_close(at_sizes, cpu.at_patch_sizes(x_t, TIMES, [3, 1, 7]), rtol=0, atol=1e-5)


@pytest.mark.parametrize("machine", MACHINES)
def test_images_on_the_wrong_device(machine):
    with pytest.raises(ShapeError, match=r"must be on cuda.*Try x_t\.to\('cuda"):
        MACHINES[machine].build(POOL, 3).to("cuda")(torch.zeros(1, *POOL.image_shape), 0.5)
    with pytest.raises(ShapeError, match=r"must be on cpu, got cuda"):
        MACHINES[machine].build(POOL, 3)(torch.zeros(1, *POOL.image_shape, device="cuda"), 0.5)


def network():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(2, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 2, 3, padding=1))

    class Timeless(nn.Module):
        def __init__(self):
            super().__init__()
            self.inside = module

        def forward(self, x_t, t):
            return torch.tanh(self.inside(x_t))

    return NetworkDenoiser(Timeless(), "x0", image_shape=POOL.image_shape)


def test_samples_are_the_same():
    """Twenty steps each carry an error of 1e-5 at most; the map between steps contracts but near ties between images."""
    for build in (lambda: LocalDenoiser(POOL, 5), lambda: WienerDenoiser(POOL)):
        on_cpu = generate(build(), range(6), steps=20)
        on_gpu = generate(build().to("cuda"), range(6), steps=20)
        assert on_gpu.device.type == "cpu"
        torch.testing.assert_close(on_gpu, on_cpu, rtol=0, atol=1e-3)


def test_calibration_and_comparison_are_the_same():
    """The network's convolutions may run in TF32 (1e-3 relative), the machines do not."""
    on_cpu = calibrate(network(), POOL, "LS", seeds=2, steps=4)
    on_gpu = calibrate(network().to("cuda"), POOL, "LS", seeds=2, steps=4)
    torch.testing.assert_close(on_gpu.cosine, on_cpu.cosine, rtol=0, atol=1e-3)
    left = compare(network(), {"LS": LocalDenoiser(POOL, 3)}, seeds=4, steps=20)
    right = compare(network().to("cuda"), {"LS": LocalDenoiser(POOL, 3).to("cuda")}, seeds=4, steps=20)
    for name in ("IS", "Wiener", "LS"):
        torch.testing.assert_close(right.images[name], left.images[name], rtol=0, atol=1e-3)
        torch.testing.assert_close(right.per_seed[name]["r"], left.per_seed[name]["r"], rtol=0, atol=5e-3)
