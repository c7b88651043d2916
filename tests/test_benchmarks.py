"""The naive baseline is right, and the benchmark counts and measures what it says."""

import math
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch

import patchmosaic as pm
from patchmosaic.engine import oracle

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
naive, engine, workloads = import_module("naive"), import_module("engine"), import_module("workloads")

PATCH_MACHINES = {
    "ELS": lambda *arguments: oracle.equivariant_local(*arguments, training_padding="valid"),
    "bbELS": oracle.boundary_broken,
    "LS": oracle.local,
}
CASES = [(name, way) for name, machine in workloads.MACHINES.items() for way in machine.naive]


def case(alpha, sigma):
    """More images than a minibatch, not a multiple of it, wider than high."""
    rng = np.random.default_rng(0)
    images = rng.uniform(-1, 1, (naive.MINIBATCH + 6, 2, 6, 7))
    return alpha * images[-1:] + sigma * rng.standard_normal((1, 2, 6, 7)), images, alpha, sigma


def answer(function, x, images, *arguments, dtype):
    result = function(torch.from_numpy(x).to(dtype), torch.from_numpy(images).to(dtype), *arguments)
    assert result.dtype == dtype
    return result.double().numpy()


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-3)])
@pytest.mark.parametrize(("alpha", "sigma"), [(0.99, 0.14), (0.7, 0.7), (0.0125, 1.0)])
@pytest.mark.parametrize("patch_size", [3, 5])
@pytest.mark.parametrize(("name", "way"), CASES)
def test_the_naive_patch_machines_agree_with_the_oracle(name, way, patch_size, alpha, sigma, dtype, tolerance):
    arguments = (*case(alpha, sigma), patch_size)
    expected = PATCH_MACHINES[name](*arguments)
    found = answer(workloads.MACHINES[name].naive[way], *arguments, dtype=dtype)
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-4)])
@pytest.mark.parametrize(("alpha", "sigma"), [(0.9, 0.4), (0.4, 0.9), (0.0125, 1.0)])
def test_the_naive_ideal_machine_agrees_with_the_oracle(alpha, sigma, dtype, tolerance):
    arguments = case(alpha, sigma)
    np.testing.assert_allclose(answer(naive.ideal, *arguments, dtype=dtype), oracle.ideal(*arguments), rtol=0, atol=tolerance)


@pytest.mark.parametrize("patch_size", [3, 5])
@pytest.mark.parametrize(
    ("name", "oracles", "options"),
    [("ELS", "equivariant_local", {"training_padding": "valid"}), ("bbELS", "boundary_broken", {}), ("LS", "local", {})],
)
def test_pairs_are_counted_as_the_oracle_lists_them(name, oracles, options, patch_size):
    side, zeros = 8, np.zeros((1, 1, 8, 8))
    listed = sum(
        len(oracle.candidates(oracles, zeros, zeros, 1.0, 1.0, *pixel, patch_size, **options).row)
        for pixel in np.ndindex(side, side)
    )
    assert workloads.MACHINES[name].pairs(side, patch_size) == listed


def test_published_scales_have_a_size_for_each_step_and_each_size_that_is_measured():
    for scales in workloads.SCALES.values():
        for sizes in scales.values():
            assert len(sizes) == workloads.STEPS
            pm.LocalityScale.from_steps(pm.noise.CosineSchedule(), sizes)
        assert set(engine.Effort().patch_sizes) <= {size for sizes in scales.values() for size in sizes}


@pytest.fixture(scope="module")
def bench():
    """The least that can be measured."""
    effort = engine.Effort(
        seconds=0.0,
        repeats=1,
        patch_sizes=(3,),
        local_sizes=(3,),
        ends=(0,),
        steps=(0, 1),
        at_once=(3, 5),
        error_sizes=(3, 5),
        error_times=(0.1,),
        images=2,
        gemm_side=64,
        read_bytes=2**12,
    )
    return engine.Bench({"smooth": workloads.synthetic(3, 4, side=8)}, effort)


@pytest.mark.parametrize("section", ["els", "boundary_broken", "local"])
def test_sections_compare_machines_that_agree(bench, section):
    rows = list(getattr(engine, section)(bench))
    assert [row["P"] for row in rows] == [3]
    for row in rows:
        assert row["difference"] < 1e-3
        naive_times = [row[key] for key in row if key.startswith("naive") and key.endswith("µs/image")]
        assert len(naive_times) == (1 if section == "local" else 2)
        assert row["ratio"] == pytest.approx(min(naive_times) / row["µs/image"])
        pairs = workloads.MACHINES[row["machine"]].pairs(8, row["P"])
        assert row["G pairs/s"] == pytest.approx(1e-3 * pairs / row["µs/image"])


def test_the_schedule_ends_in_the_geometric_mean_of_its_steps(bench):
    rows = [row for row in engine.schedule(bench) if row["scale"] == "ResNet, circular"]
    assert [row["t"] for row in rows[:-1]] == [0.05, 0.1]
    assert rows[-1]["ratio"] == pytest.approx(math.sqrt(rows[0]["ratio"] * rows[1]["ratio"]))


def test_errors_are_those_of_float32(bench):
    rows = list(engine.errors(bench))
    assert {row["machine"] for row in rows} == {"ELS", "bbELS", "LS", "IS"}
    assert all(row["largest"] < 1e-5 and row["worst pixel"] < 1e-4 for row in rows)
    assert any(row["largest"] > 0 for row in rows)  # else float64 was compared with itself


def test_the_other_sections_give_positive_figures(bench):
    for section in (engine.ideal, engine.all_at_once):
        rows = list(section(bench))
        assert rows
        assert all(value > 0 for row in rows for value in row.values() if isinstance(value, float))
