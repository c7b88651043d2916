"""The byte budget is a promise: its arithmetic is checked for every plan hypothesis can think of."""

import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from patchmosaic.engine.memory import CACHE_BYTES, Footprint, pool_blocks
from patchmosaic.errors import MemoryBudgetError

sizes = st.integers(1, 10**5)
devices = st.sampled_from([torch.device("cpu"), torch.device("cuda")])
footprints = st.builds(Footprint, pair=st.integers(1, 10**6), query=st.integers(0, 10**6), image=st.integers(0, 10**6))


@given(footprint=footprints, queries=sizes, images=sizes, spare=st.integers(0, 10**9), device=devices)
def test_what_is_done_at_once_fits_the_budget(footprint, queries, images, spare, device):
    budget = footprint.pair + footprint.query + footprint.image + spare
    together = footprint.queries_at_once(queries, images, budget, device)
    block = footprint.images_at_once(together, images, budget, device)
    assert 1 <= together <= queries
    assert 1 <= block <= images
    assert together * block * footprint.pair + together * footprint.query + block * footprint.image <= budget


@given(footprint=footprints, queries=st.integers(1, 5), device=devices)
def test_what_cannot_fit_is_refused_with_the_budget_that_does(footprint, queries, device):
    least = queries * (footprint.pair + footprint.query) + footprint.image
    with pytest.raises(MemoryBudgetError, match=f"{least - 1:,} bytes") as caught:
        footprint.images_at_once(queries, 7, least - 1, device)
    hinted = int(re.search(r"at least ([\d,]+) bytes", str(caught.value))[1].replace(",", ""))
    assert hinted == least
    assert footprint.images_at_once(queries, 7, hinted, device) >= 1


def test_a_gpu_uses_the_budget_and_a_cpu_the_cache():
    footprint = Footprint(pair=1000, query=10, image=10)
    assert footprint.queries_at_once(10, 10**5, 2**30, torch.device("cuda")) == 10
    assert footprint.images_at_once(10, 10**5, 2**30, torch.device("cuda")) == 10**5
    at_once = footprint.images_at_once(1, 10**5, 2**30, torch.device("cpu"))
    assert CACHE_BYTES / 2 < at_once * 1000 < CACHE_BYTES


@given(count=st.integers(1, 20), size=st.integers(1, 25), seed=st.integers(0, 100), chosen=st.booleans())
def test_blocks_are_the_pool_in_order(count, size, seed, chosen):
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(count, 1, 2, 2, generator=generator)
    index = torch.randint(count, (count // 2 + 1,), generator=generator) if chosen else None
    blocks = list(pool_blocks(images, index, size, torch.float64))
    assert all(len(block) <= size and block.dtype == torch.float64 for block in blocks)
    assert torch.equal(torch.cat(blocks), (images if index is None else images[index]).double())
