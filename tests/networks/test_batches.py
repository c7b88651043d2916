import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from patchmosaic.data.imageset import ImageSet
from patchmosaic.networks.batches import batch_index, draw_batch
from patchmosaic.noise import CosineSchedule


@settings(max_examples=40, deadline=None)
@given(count=st.integers(1, 40), batch_size=st.integers(1, 60), seed=st.integers(0, 5))
def test_every_image_is_seen_once_an_epoch(count: int, batch_size: int, seed: int) -> None:
    steps = math.ceil(3 * count / batch_size)
    seen = torch.cat([batch_index(count, batch_size, seed, step) for step in range(steps)])
    assert len(seen) == steps * batch_size
    for epoch in range(3):
        assert seen[epoch * count : (epoch + 1) * count].sort().values.tolist() == list(range(count))


def test_epochs_and_seeds_have_their_own_order() -> None:
    orders = [tuple(batch_index(100, 100, seed, step).tolist()) for seed in (0, 1) for step in (0, 1, 2)]
    assert len(set(orders)) == 6


def test_a_batch_obeys_the_noising_formula() -> None:
    images = torch.linspace(-1, 1, 5)[:, None, None, None].expand(5, 2, 6, 6)
    pool = ImageSet(images, labels=[0, 1, 2, 3, 4])
    batch = draw_batch(pool, CosineSchedule(), 64, seed=0, step=3)
    assert batch.label is not None
    angle = math.pi * batch.t.double() / 2.016
    x0 = (batch.x_t - angle.sin()[:, None, None, None] * batch.eps) / angle.cos()[:, None, None, None]
    expected = (batch.label.double() / 2 - 1)[:, None, None, None].expand_as(x0)
    early = batch.t < 0.9  # later, dividing by alpha magnifies float32 rounding
    torch.testing.assert_close(x0[early], expected[early], atol=1e-5, rtol=0)


def test_times_are_uniform_on_0_to_1_without_0_and_noise_is_standard_normal() -> None:
    pool = ImageSet(torch.zeros(1, 1, 8, 8))
    batches = [draw_batch(pool, CosineSchedule(), 256, seed=0, step=step) for step in range(40)]
    t = torch.cat([batch.t for batch in batches])
    assert t.min() > 0
    assert t.max() <= 1
    # Kolmogorov-Smirnov: sup |F_n - F| exceeds 2 / sqrt(n) with probability below 1e-3.
    ranks = torch.arange(1, len(t) + 1) / len(t)
    assert (t.sort().values - ranks).abs().max() < 2 / math.sqrt(len(t))
    eps = torch.cat([batch.eps for batch in batches]).double()
    assert abs(eps.mean().item()) < 4 / math.sqrt(eps.numel())
    assert abs(eps.var().item() - 1) < 4 * math.sqrt(2 / eps.numel())
    assert abs((eps[1:] * eps[:-1]).mean().item()) < 4 / math.sqrt(eps.numel())  # from image to image, and step to step


def test_the_papers_times_are_thousandths_and_0_is_among_them() -> None:
    pool = ImageSet(torch.full((3, 1, 2, 2), 0.25))
    batches = [draw_batch(pool, CosineSchedule(), 1000, seed=0, step=step, times="thousandths") for step in range(20)]
    t = torch.cat([batch.t for batch in batches])
    number = (1000 * t.double()).round()
    torch.testing.assert_close(t, (number / 1000).float(), atol=0, rtol=0)
    assert sorted(number.unique().tolist()) == list(range(1000))  # 20 of each are expected: none is missing but once in 10^6
    clean = torch.cat([batch.x_t for batch in batches])[t == 0]
    assert (clean == 0.25).all()


def test_a_batch_is_a_function_of_seed_and_step() -> None:
    pool = ImageSet(torch.zeros(3, 1, 4, 4))
    torch.manual_seed(11)
    one = draw_batch(pool, CosineSchedule(), 4, seed=5, step=7)
    torch.manual_seed(12)
    draw_batch(pool, CosineSchedule(), 4, seed=5, step=8)
    again = draw_batch(pool, CosineSchedule(), 4, seed=5, step=7)
    assert torch.equal(one.x_t, again.x_t)
    assert torch.equal(one.t, again.t)
    for seed, step in ((5, 8), (6, 7)):
        assert not torch.equal(one.eps, draw_batch(pool, CosineSchedule(), 4, seed=seed, step=step).eps)
