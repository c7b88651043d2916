"""The byte budget is a promise: its arithmetic is checked for every plan hypothesis can think of."""

import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from patchmosaic.engine.memory import BlockPlan, plan_blocks, pool_blocks
from patchmosaic.errors import MemoryBudgetError

sizes = st.integers(1, 10**5)
devices = st.sampled_from([torch.device("cpu"), torch.device("cuda")])


@given(
    samples=sizes,
    candidates=sizes,
    pair_bytes=st.integers(1, 10**6),
    sample_bytes=st.integers(0, 10**6),
    image_bytes=st.integers(0, 10**6),
    spare=st.integers(0, 10**9),
    device=devices,
)
def test_a_plan_fits_its_budget(samples, candidates, pair_bytes, sample_bytes, image_bytes, spare, device):
    budget = pair_bytes + sample_bytes + image_bytes + spare
    plan = plan_blocks(
        samples,
        candidates,
        pair_bytes=pair_bytes,
        sample_bytes=sample_bytes,
        image_bytes=image_bytes,
        budget=budget,
        device=device,
    )
    assert 1 <= plan.samples <= samples
    assert 1 <= plan.candidates <= candidates
    used = plan.samples * plan.candidates * pair_bytes + plan.samples * sample_bytes + plan.candidates * image_bytes
    assert used <= budget


@given(pair_bytes=st.integers(1, 10**9), sample_bytes=st.integers(0, 10**9), image_bytes=st.integers(0, 10**9), device=devices)
def test_what_cannot_fit_is_refused_with_the_budget_that_does(pair_bytes, sample_bytes, image_bytes, device):
    def plan(budget):
        return plan_blocks(
            5,
            7,
            pair_bytes=pair_bytes,
            sample_bytes=sample_bytes,
            image_bytes=image_bytes,
            budget=budget,
            device=device,
        )

    least = pair_bytes + sample_bytes + image_bytes
    with pytest.raises(MemoryBudgetError, match=f"{least - 1:,} bytes") as caught:
        plan(least - 1)
    hinted = int(re.search(r"at least ([\d,]+) bytes", str(caught.value))[1].replace(",", ""))
    assert hinted == least
    assert plan(hinted).samples == 1


def test_a_gpu_uses_the_budget_and_a_cpu_the_cache():
    arguments = {"pair_bytes": 1000, "sample_bytes": 10, "image_bytes": 10, "budget": 2**30}
    assert plan_blocks(10, 10**5, device=torch.device("cuda"), **arguments) == BlockPlan(10, 10**5)
    on_cpu = plan_blocks(10, 10**5, device=torch.device("cpu"), **arguments)
    assert on_cpu.samples * on_cpu.candidates * 1000 < 2**24


@given(count=st.integers(1, 20), size=st.integers(1, 25), seed=st.integers(0, 100), chosen=st.booleans())
def test_blocks_are_the_pool_in_order(count, size, seed, chosen):
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(count, 1, 2, 2, generator=generator)
    index = torch.randint(count, (count // 2 + 1,), generator=generator) if chosen else None
    blocks = list(pool_blocks(images, index, size, torch.float64))
    assert all(len(block) <= size and block.dtype == torch.float64 for block in blocks)
    assert torch.equal(torch.cat(blocks), (images if index is None else images[index]).double())
