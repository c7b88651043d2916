"""The GPU kernel against the oracle: on a GPU where there is one, and else step by step in Triton's interpreter."""

import math
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from patchmosaic.engine import oracle
from patchmosaic.engine.box_sums import box_sum_posteriors
from patchmosaic.engine.memory import DEFAULT_BUDGET, as_numbers
from patchmosaic.engine.patches import patch_posteriors
from patchmosaic.errors import MemoryBudgetError
from patchmosaic.noise import CosineSchedule

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"

# Triton 3.5 and 3.6 compile the kernel, but their interpreter does not know today's numpy.
pytest.importorskip("triton", minversion="3.5" if DEVICE == "cuda" else "3.7", reason="needs Triton 3.7, or 3.5 and a GPU")

from patchmosaic.engine.triton_patches import LARGEST_SIDE, triton_footprint, triton_patch_posteriors  # noqa: E402

ORACLES = {
    "same position": oracle.local,
    "same border": oracle.boundary_broken,
    "anywhere": oracle.equivariant_local,
    "anywhere inside": lambda *arguments: oracle.equivariant_local(*arguments, training_padding="valid"),
}
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12}


def case(shape=(3, 5, 4), images=2, batch=2, seed=0):
    """Queries of different precision, near the first images, and a pool whose numbers float32 holds."""
    rng = np.random.default_rng(seed)
    pool = torch.from_numpy(rng.uniform(-1, 1, (images, *shape))).float()
    precision = torch.tensor([3.0, 0.2, 30.0][:batch], dtype=torch.float64)
    noise = torch.from_numpy(rng.standard_normal((batch, *shape)))
    return pool[torch.arange(batch) % images] + noise / precision.sqrt()[:, None, None, None], precision, pool


def run(queries, precision, pool, rule, patch_size, dtype=torch.float32, index=None, budget=DEFAULT_BUDGET):
    """x0_hat, by the kernel."""
    arguments = (tensor.to(DEVICE) for tensor in (queries.to(dtype), precision, pool))
    index = None if index is None else index.to(DEVICE)
    (state,) = triton_patch_posteriors(*arguments, index, rule, (patch_size,), budget)
    return state.mean().cpu()


def truth(queries, precision, pool, rule, patch_size):
    pairs = zip(queries.double().numpy(), precision.tolist(), strict=True)
    x0_hats = [ORACLES[rule](y[None], pool.double().numpy(), 1.0, 1 / math.sqrt(gamma), patch_size) for y, gamma in pairs]
    return torch.from_numpy(np.concatenate(x0_hats))


def relative_errors(found, expected):
    return (found - expected).flatten(1).norm(dim=1) / expected.flatten(1).norm(dim=1)


def agree(found, expected, dtype=torch.float32):
    assert relative_errors(found, expected).max() < TOLERANCE[dtype]


@pytest.mark.parametrize(
    ("rule", "patch_size"),
    [
        ("same position", 1),
        ("same position", 3),
        ("same position", 7),  # further than any row
        ("same border", 3),
        ("same border", 5),  # of 4 columns none is inside
        ("anywhere", 1),
        ("anywhere", 3),
        ("anywhere", 5),  # of 4 columns each is seen once
        ("anywhere inside", 3),
    ],
)
def test_every_rule_matches_the_oracle(rule, patch_size):
    arguments = case()
    agree(run(*arguments, rule, patch_size), truth(*arguments, rule, patch_size))


@pytest.mark.parametrize("rule", ORACLES)
def test_float64_queries_have_float64_answers(rule):
    arguments = case((2, 3, 4))
    agree(run(*arguments, rule, 3, torch.float64), truth(*arguments, rule, 3), torch.float64)


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 1, 5), (1, 4, 4)])
@pytest.mark.parametrize("rule", ["same border", "anywhere"])
def test_shapes_and_channels(shape, rule):
    arguments = case(shape)
    agree(run(*arguments, rule, 3), truth(*arguments, rule, 3))


@pytest.mark.parametrize(("patch_size", "shape"), [(7, (1, 1, 8)), (11, (1, 1, 13)), (17, (1, 18, 1))])
def test_wide_windows_are_summed_from_halves(patch_size, shape):
    for rule in ("same position", "anywhere"):
        arguments = case(shape, images=1, batch=1)
        agree(run(*arguments, rule, patch_size), truth(*arguments, rule, patch_size))


@pytest.mark.parametrize("t", [0.02, 0.1, 0.5, 1.0])
def test_every_noise_level(t):
    alpha, sigma = (float(scale) for scale in CosineSchedule()(t))
    queries, _, pool = case((3, 4, 4), batch=1)
    precision = torch.tensor([(alpha / sigma) ** 2], dtype=torch.float64)
    queries = pool[:1] + (queries - pool[:1]) * math.sqrt(3.0) * sigma / alpha
    agree(run(queries, precision, pool, "anywhere", 3), truth(queries, precision, pool, "anywhere", 3))


def test_images_at_an_index_duplicates_and_bytes():
    queries, precision, pool = case(images=4)
    stored = ((pool + 1) * 127.5).round().to(torch.uint8)
    index = torch.tensor([3, 1, 1])
    expected = truth(queries, precision, as_numbers(stored)[index], "same position", 3)
    agree(run(queries, precision, stored, "same position", 3, index=index), expected)


def test_one_constant_image_answers_itself():
    queries, precision, pool = case(images=1)
    constant = torch.full_like(pool, 0.25)
    agree(run(queries, precision, constant, "anywhere", 3), constant.double().expand(2, -1, -1, -1))


def test_no_precision_makes_all_weights_equal():
    queries, _, pool = case()
    found = run(queries, torch.zeros(2, dtype=torch.float64), pool, "anywhere", 3)
    agree(found, pool.double().mean((0, 2, 3), keepdim=True).expand_as(found))


def test_several_patch_sizes_are_several_questions():
    queries, precision, pool = case(images=3)
    states = triton_patch_posteriors(
        queries.to(DEVICE), precision.to(DEVICE), pool.to(DEVICE), None, "same position", (1, 3), DEFAULT_BUDGET
    )
    for state, patch_size in zip(states, (1, 3), strict=True):
        agree(state.mean().cpu(), truth(queries, precision, pool, "same position", patch_size), torch.float64)


def test_blocks_of_the_pool_and_programs_with_several_images(monkeypatch):
    """Log-weights, not only means: blocks are merged by them."""
    queries, precision, pool = case(images=5)
    monkeypatch.setattr("patchmosaic.engine.triton_patches.PROGRAMS", 4)  # two queries: three images each, the last has two
    arguments = (queries.to(DEVICE), precision.to(DEVICE), pool.to(DEVICE), None, "same position", (3,))
    (expected,) = box_sum_posteriors(*arguments, DEFAULT_BUDGET)
    needed = triton_footprint(pool.shape[1:], 1)
    for images in (2, 5):
        budget = images * (needed.image + 2 * needed.pair) + 2 * needed.query
        (found,) = triton_patch_posteriors(*arguments, budget)
        torch.testing.assert_close(found.m + found.s.log(), expected.m + expected.s.log(), rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(found.mean(), expected.mean(), rtol=1e-12, atol=1e-12)


def test_a_budget_below_one_image_is_refused():
    queries, precision, pool = case()
    with pytest.raises(MemoryBudgetError, match="memory budget"):
        run(queries, precision, pool, "anywhere", 3, budget=1000)


def test_images_beyond_the_registers_are_done_another_way():
    arguments = case((1, 1, LARGEST_SIDE + 1), images=1, batch=1)
    agree(run(*arguments, "same position", 3), truth(*arguments, "same position", 3))


COMPILE = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from patchmosaic.engine.triton_patches import _softmax_kernel

def compiled(dtype, channels, side, tile, torus):
    constants = dict(
        CHANNELS=channels, HEIGHT=side, WIDTH=side, ROWS=tile, COLUMNS=tile, UNROLLED_ROWS=2 * tile, UNROLLED_COLUMNS=2 * tile,
        TORUS=torus, BELOW=side // 4, ABOVE=side // 4, RIGHT=side // 4, LEFT=side // 4,
    )
    numbers = dict.fromkeys(("downs", "acrosses"), "*i32")
    numbers |= dict.fromkeys(("image_count", "images_each", "down_count", "across_count"), "i32")
    types = {name: "constexpr" if name in constants else numbers.get(name, "*" + dtype) for name in _softmax_kernel.arg_names}
    options = dict(num_warps=max(1, tile * tile // 256), num_stages=1, enable_fp_fusion=True)
    source = ASTSource(_softmax_kernel, types, constants)
    return triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options).asm

colour = compiled("fp32", 3, 32, 32, True)
# Energies go from a lane a column to a lane a row and back, and nothing else is moved.
assert colour["ttgir"].count("convert_layout") == 2, colour["ttgir"]
assert "mma" not in colour["ptx"], "float32 products must not be rounded to TF32"
for arguments in [("fp64", 3, 32, 32, True), ("fp32", 1, 28, 32, False), ("fp32", 3, 64, 64, True), ("fp32", 1, 1, 1, False)]:
    assert compiled(*arguments)["cubin"]
"""


@pytest.mark.slow
def test_the_kernel_compiles_for_a_gpu_that_is_not_here():
    """The interpreter accepts what the compiler may not."""
    environment = {**os.environ, "TRITON_INTERPRET": "0"}
    answer = subprocess.run([sys.executable, "-c", COMPILE], env=environment, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr


@pytest.mark.skipif(DEVICE == "cpu", reason="needs a GPU")
@pytest.mark.parametrize("patch_size", [1, 3, 7, 17])
@pytest.mark.parametrize("rule", ORACLES)
@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 28, 28), (3, 64, 48)])
def test_real_sizes_match_box_sums_in_float64(shape, rule, patch_size):
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(301, *shape, generator=generator)
    pool = torch.nn.functional.avg_pool2d(noise, 5, stride=1, padding=2).mul(3).clamp(-1, 1).to(DEVICE)
    for t in (0.02, 0.3, 0.7, 1.0):
        alpha, sigma = (float(scale) for scale in CosineSchedule()(t))
        noise = torch.randn(2, *shape, generator=generator, dtype=torch.float64).to(DEVICE)
        queries = pool[:2].double() + sigma / alpha * noise
        precision = torch.full((2,), (alpha / sigma) ** 2, dtype=torch.float64, device=DEVICE)
        question = (queries, precision, pool, None, rule, (patch_size,))
        (expected,) = box_sum_posteriors(*question, DEFAULT_BUDGET)
        (in_float64,) = triton_patch_posteriors(*question, DEFAULT_BUDGET)
        agree(in_float64.mean(), expected.mean(), torch.float64)
        (found,) = patch_posteriors(*question, torch.float32, DEFAULT_BUDGET)  # with a second look where float32 is not enough
        agree(found.mean(), expected.mean())
