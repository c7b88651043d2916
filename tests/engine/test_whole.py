"""IS against the brute force, in every way of computing it; and matrix products keep float32 whatever the process allows."""

import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from patchmosaic.engine import distances, oracle, precision, whole
from patchmosaic.engine.memory import DEFAULT_BUDGET
from patchmosaic.engine.native import whole_images
from patchmosaic.engine.native.instructions import instruction_sets, kernel
from patchmosaic.engine.whole import whole_image_posterior

WAYS = ["0", *instruction_sets()]


@pytest.fixture(params=WAYS)
def way(request, monkeypatch):
    monkeypatch.setenv("PATCHMOSAIC_NATIVE", request.param)
    return request.param


def case(seed):
    """Random sizes; 8-bit images or floats, some of them twice, all or those at an index; noise down to 1e-3."""
    rng = np.random.default_rng(seed)
    shape = (int(rng.choice([1, 3])), int(rng.integers(1, 9)), int(rng.choice([1, 5, 19])))
    count, batch = int(rng.choice([1, 7, 40])), int(rng.choice([1, 3, 6]))
    images = torch.from_numpy(rng.integers(0, 256, (count, *shape), dtype=np.uint8))
    numbers = images.float() / 127.5 - 1
    if seed % 3 == 0:
        images, numbers = images.repeat(3, 1, 1, 1), numbers.repeat(3, 1, 1, 1)
    index = torch.from_numpy(rng.permutation(len(images))[: max(1, len(images) - 2)]) if seed % 2 else None
    sigma = 10.0 ** rng.uniform(-3, 1)
    near = numbers[torch.from_numpy(rng.integers(0, len(numbers), batch))].double()
    y = near + sigma * torch.from_numpy(rng.standard_normal((batch, *shape)))
    return y, sigma, images if seed % 4 else numbers, numbers, index


def relative_error(answer, expected):
    return np.linalg.norm(answer.numpy() - expected) / np.linalg.norm(expected)


@pytest.mark.parametrize("seed", range(16))
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-11)])
def test_the_posterior_matches_the_brute_force(way, seed, dtype, tolerance):
    y, sigma, images, numbers, index = case(seed)
    expected = oracle.ideal(y.numpy(), (numbers if index is None else numbers[index]).double().numpy(), 1.0, sigma)
    gamma = torch.full((len(y),), sigma**-2, dtype=torch.float64)
    state = whole_image_posterior(y, gamma, images, index, dtype, DEFAULT_BUDGET)
    assert relative_error(state.mean(), expected) < tolerance


def crowd(count, seed=3, size=1024):
    """Images whose log-weights differ by about 1/2, for queries far from all of them, so that their rounding is large."""
    rng = np.random.default_rng(seed)
    images = torch.from_numpy(rng.uniform(-1, 1, (count, 1, 1, size))).float()
    y = torch.from_numpy(rng.standard_normal((2, 1, 1, size))) * 3
    away = (y[:, None] - images.double()).square().sum((2, 3, 4))
    return y, images, torch.full((2,), 1 / float(away.std()), dtype=torch.float64)


@pytest.mark.parametrize("count", [2, 30, 300, 3000])
def test_many_that_weigh_alike_are_exact_too(way, count):
    y, images, gamma = crowd(count)
    expected = np.concatenate(
        [
            oracle.ideal(one[None].numpy(), images.double().numpy(), 1.0, float(g) ** -0.5)
            for one, g in zip(y, gamma, strict=True)
        ]
    )
    state = whole_image_posterior(y, gamma, images, None, torch.float32, DEFAULT_BUDGET)
    assert relative_error(state.mean(), expected) < 1e-5


def cut(monkeypatch, size):
    """Of so many bytes are the blocks, and the parts of a stream."""
    monkeypatch.setattr(whole, "BLOCK_BYTES", size)
    monkeypatch.setattr(whole, "STREAM_BYTES", size)
    monkeypatch.setattr(whole, "FIRST", 2)


def test_blocks_make_no_difference(way, monkeypatch):
    y, sigma, images, _, _ = case(2)
    gamma = torch.full((len(y),), sigma**-2, dtype=torch.float64)
    at_once = whole_image_posterior(y, gamma, images, None, torch.float32, DEFAULT_BUDGET)
    cut(monkeypatch, 3 * images[0].nbytes)
    blocks = whole_image_posterior(y, gamma, images, None, torch.float32, DEFAULT_BUDGET)
    assert relative_error(blocks.mean(), at_once.mean().numpy()) < 1e-6


def test_blocks_in_which_nothing_weighs_make_no_difference(way, monkeypatch):
    y, images, _ = crowd(200)
    near, gamma = images[[150, 7]].double() + 1e-2 * y, torch.full((2,), 1e4, dtype=torch.float64)
    expected = oracle.ideal(near.numpy(), images.double().numpy(), 1.0, 1e-2)
    cut(monkeypatch, 3 * images[0].nbytes)
    state = whole_image_posterior(near, gamma, images, None, torch.float32, DEFAULT_BUDGET)
    assert relative_error(state.mean(), expected) < 1e-6


@pytest.mark.parametrize("sigma", [1.0, 3.0])
def test_few_distances_are_computed_anew(way, monkeypatch, sigma):
    """Those with the share of a block's weight from which on the error shows: some, and no more than have room in the whole."""
    y, images, _ = crowd(3000)
    y = (images[:2].double() + sigma / 3 * y).repeat(2, 1, 1, 1)  # fewer than four have their images streamed
    gamma = torch.full((4,), sigma**-2, dtype=torch.float64)
    kind = distances.MatrixProducts if way == "0" else distances.SquaredDifferences
    asked, compute_anew = [], kind.compute_anew

    def counted(self, half, where, start, stop):
        asked.append((where.sum(1), room_for(self.log_weight_error(gamma, half.amin(1)))))
        compute_anew(self, half, where, start, stop)

    monkeypatch.setattr(kind, "compute_anew", counted)
    state = whole_image_posterior(y, gamma, images, None, torch.float32, DEFAULT_BUDGET)
    assert relative_error(state.mean(), oracle.ideal(y.numpy(), images.double().numpy(), 1.0, sigma)) < 5e-6
    assert asked
    for count, room in asked:
        assert ((count > 0) & (count <= room)).all()


def room_for(error):
    """How many images can have a share of the weight that makes rounding of this size show."""
    return torch.exp(2 * error) * (error / whole.STIR).square()


@pytest.mark.skipif(not instruction_sets(), reason="the native kernel was not built: no C++ compiler here")
@pytest.mark.parametrize("sigma", [1.0, 3.0])
def test_few_distances_are_computed_anew_in_a_stream(monkeypatch, sigma):
    """Twice as many have room, for a thread knows the weight of the first images or of its own, not of all."""
    y, images, _ = crowd(6000)
    y = images[:1].double() + sigma / 3 * y[:1]
    gamma = torch.full((1,), sigma**-2, dtype=torch.float64)
    anew, stream = [], kernel.stream

    def counted(**arguments):
        anew.append(stream(**arguments))
        return anew[-1]

    monkeypatch.setattr(
        whole_images, "kernel", SimpleNamespace(stream=counted, half_squared_distances=kernel.half_squared_distances)
    )
    state = whole_image_posterior(y, gamma, images, None, torch.float32, DEFAULT_BUDGET)
    assert relative_error(state.mean(), oracle.ideal(y.numpy(), images.double().numpy(), 1.0, sigma)) < 5e-6
    way = distances.SquaredDifferences(y.flatten(1), images, None, torch.float32, instruction_sets()[0])
    nearest = way.half_squared_distances(0, len(images)).amin(1)
    assert 0 < sum(anew) <= 2 * room_for(way.log_weight_error(gamma, nearest))


FEWER_THREADS = """
import torch
import patchmosaic as pm
from patchmosaic.engine import oracle
torch.set_num_threads(4)
images = torch.rand(300, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
x_t = torch.randn(1, 1, 8, 8, generator=torch.Generator().manual_seed(1))
machine = pm.IdealDenoiser(pm.ImageSet(images))
alpha, sigma = (float(scale) for scale in machine.schedule(0.05))
expected = oracle.ideal((x_t.double() / alpha).numpy(), images.double().numpy(), 1.0, sigma / alpha)
print(float(abs(machine(x_t, 0.05).numpy() - expected).max()))
"""


def test_threads_that_openmp_does_not_give_are_not_missed():
    run = subprocess.run(
        [sys.executable, "-c", FEWER_THREADS], env={**os.environ, "OMP_THREAD_LIMIT": "1"}, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    assert float(run.stdout) < 1e-5


def test_at_low_noise_float32_is_enough(way, monkeypatch):
    """What weighs much is computed anew: nothing has to be done again in float64."""
    y, images, _ = crowd(200)
    near = images[:2].double() + 1e-2 * y
    monkeypatch.setattr(precision, "TOLERANCE", 1e-6)
    asked, one_pass = [], whole._one_pass

    def counted(*arguments):
        asked.append(torch.float64 if torch.float64 in arguments else torch.float32)
        return one_pass(*arguments)

    monkeypatch.setattr(whole, "_one_pass", counted)
    whole_image_posterior(near, torch.full((2,), 1e4, dtype=torch.float64), images, None, torch.float32, DEFAULT_BUDGET)
    assert asked == [torch.float32]


def allowed():
    """What products of float32 may be rounded to, on a GPU and on a CPU."""
    if not hasattr(torch.backends.cuda.matmul, "fp32_precision"):
        return [torch.get_float32_matmul_precision()]
    return [torch.backends.cuda.matmul.fp32_precision, torch.backends.mkldnn.matmul.fp32_precision]


class Products(TorchDispatchMode):
    """Notes what is allowed whenever two matrices are multiplied."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function.overloadpacket is torch.ops.aten.mm:
            self.seen += allowed()
        return function(*args, **(kwargs or {}))


def lower_everything():
    torch.backends.fp32_precision = "tf32"


def lower_gpu_products():
    torch.backends.cuda.matmul.fp32_precision = "tf32"


def lower_cpu_products():
    torch.backends.mkldnn.matmul.fp32_precision = "bf16"


def lower_products():
    torch.set_float32_matmul_precision("medium")


@pytest.fixture
def precision_restored():
    yield
    torch.set_float32_matmul_precision("highest")
    if hasattr(torch.backends.cuda.matmul, "fp32_precision"):
        for setting in (torch.backends, torch.backends.cuda.matmul, torch.backends.mkldnn.matmul):
            setting.fp32_precision = "none"


@pytest.fixture
def plain_torch(monkeypatch):
    monkeypatch.setenv("PATCHMOSAIC_NATIVE", "0")


@pytest.mark.usefixtures("precision_restored", "plain_torch")
@pytest.mark.parametrize("lower", [lower_everything, lower_gpu_products, lower_cpu_products, lower_products])
def test_products_are_float32_and_the_process_is_left_as_it_was(lower):
    if lower is not lower_products and not hasattr(torch.backends.cuda.matmul, "fp32_precision"):
        pytest.skip("torch before 2.9 has one setting")
    before = allowed()
    lower()
    lowered = allowed()
    assert lowered != before
    images = torch.linspace(-1, 1, 5 * 12).view(5, 3, 2, 2)
    with Products() as products:
        whole_image_posterior(
            images[:2].double(), torch.ones(2, dtype=torch.float64), images, None, torch.float32, DEFAULT_BUDGET
        )
    assert products.seen
    assert set(products.seen) <= {"ieee", "none", "highest"}
    assert allowed() == lowered


@pytest.mark.usefixtures("precision_restored", "plain_torch")
def test_what_products_inherit_they_still_inherit():
    if not hasattr(torch.backends.cuda.matmul, "fp32_precision"):
        pytest.skip("torch before 2.9 has one setting")
    lower_everything()
    images = torch.zeros(1, 1, 1, 1)
    whole_image_posterior(images.double(), torch.ones(1, dtype=torch.float64), images, None, torch.float32, DEFAULT_BUDGET)
    torch.backends.fp32_precision = "ieee"
    assert set(allowed()) == {"ieee"}


@pytest.mark.usefixtures("precision_restored", "plain_torch")
def test_torch_before_2_9_has_one_setting(monkeypatch):
    monkeypatch.setattr(precision, "hasattr", lambda *_: False, raising=False)
    lower_products()
    lowered = allowed()
    images = torch.linspace(-1, 1, 12).view(1, 3, 2, 2)
    with Products() as products:
        whole_image_posterior(images.double(), torch.ones(1, dtype=torch.float64), images, None, torch.float32, DEFAULT_BUDGET)
    assert products.seen
    assert set(products.seen) <= {"ieee", "none", "highest"}
    assert allowed() == lowered
