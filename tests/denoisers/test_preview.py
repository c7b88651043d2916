"""A preview is the machine over a subset; its error estimate is right on average, and honest about what it cannot see."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from machine_cases import MACHINES, POSTERIOR, images, labelled, noisy

from patchmosaic.data import load
from patchmosaic.data.imageset import ImageSet
from patchmosaic.denoisers import IdealDenoiser, WienerDenoiser
from patchmosaic.denoisers.approximate import Approximate
from patchmosaic.denoisers.preview import Preview
from patchmosaic.errors import LabelError, PatchMosaicError
from patchmosaic.noise import CosineSchedule
from patchmosaic.sampling import sample, seeds

COSINE = CosineSchedule()
TIMES = torch.tensor([0.05, 0.3, 0.9], dtype=torch.float64)
every_machine = pytest.mark.parametrize("machine", POSTERIOR)


def relative(result, expected):
    """Relative L2 error of each sample."""
    return (result - expected).flatten(1).norm(dim=1) / expected.flatten(1).norm(dim=1)


@every_machine
def test_it_is_the_machine_of_the_subset(machine):
    pool = ImageSet(images(n=12))
    preview = Preview(MACHINES[machine].build(pool, 3), 8, parts=3, seed=4)
    chosen = preview.chosen()
    assert len(chosen.unique()) == 8
    assert preview.seen() == 8 / 12
    smaller = MACHINES[machine].build(pool.subset(chosen), 3)
    x_t = noisy(pool.images[:3], COSINE, TIMES)
    torch.testing.assert_close(preview(x_t, TIMES), smaller(x_t, TIMES), rtol=0, atol=1e-10)
    estimate = preview.estimate(x_t, TIMES)
    torch.testing.assert_close(estimate.x0_hat, smaller(x_t, TIMES), rtol=0, atol=1e-10)
    assert bool((estimate.error > 0).all())


@every_machine
def test_with_all_images_it_is_exact(machine):
    pool = ImageSet(images(n=9))
    denoiser = MACHINES[machine].build(pool, 3)
    x_t = noisy(pool.images[:3], COSINE, TIMES)
    for count in (9, 50):
        preview = Preview(denoiser, count, parts=4)
        estimate = preview.estimate(x_t, TIMES)
        torch.testing.assert_close(preview(x_t, TIMES), denoiser(x_t, TIMES), rtol=0, atol=1e-11)
        torch.testing.assert_close(estimate.x0_hat, denoiser(x_t, TIMES), rtol=0, atol=1e-11)
        assert bool((estimate.error == 0).all())
        assert bool((estimate.error_map == 0).all())


def test_the_same_seed_is_the_same_subset():
    machine = IdealDenoiser(ImageSet(images(n=40)))
    again = [Preview(machine, 10, seed=3).chosen() for _ in range(2)]
    assert torch.equal(*again)
    assert not torch.equal(again[0], Preview(machine, 10, seed=4).chosen())
    assert torch.equal(Preview(machine, 20, seed=3).chosen()[:10], again[0])  # more images: the same and others
    every = torch.cat([Preview(machine, 10, seed=seed).chosen() for seed in range(60)])
    assert bool((torch.bincount(every, minlength=40) > 0).all())  # and no image that is never chosen


@every_machine
def test_a_label_asks_images_of_its_class(machine):
    """Also of a class too rare to be in a random subset of all, and of one with fewer images than parts."""
    numbers = torch.tensor([5] * 30 + [0] * 20 + [2] * 3)  # sorted by class
    pool = ImageSet(images(n=53), numbers)
    preview = Preview(MACHINES[machine].build(pool, 3), 8, seed=1)
    for label, count in [(5, 8), (0, 8), (2, 3)]:
        chosen = preview.chosen(label)
        assert len(chosen) == count
        assert bool((numbers[chosen] == label).all())
    assert len(preview.chosen()) == 8
    labels = torch.tensor([2, 5, 2])
    x_t = noisy(pool.images[[51, 3, 52]], COSINE, TIMES)
    estimate = preview.estimate(x_t, TIMES, labels)
    assert (estimate.error > 0).tolist() == [False, True, False]
    for i, label in enumerate(labels.tolist()):
        smaller = MACHINES[machine].build(ImageSet(pool.images[preview.chosen(label)]), 3)
        expected = smaller(x_t[i : i + 1], TIMES[i : i + 1])
        torch.testing.assert_close(estimate.x0_hat[i : i + 1], expected, rtol=0, atol=1e-10)
        torch.testing.assert_close(preview(x_t, TIMES, labels)[i : i + 1], expected, rtol=0, atol=1e-10)
    with pytest.raises(LabelError):
        preview(x_t, TIMES, 1)


@every_machine
def test_the_rest_of_the_batch_does_not_matter(machine):
    pool = labelled(n=30)
    preview = Preview(MACHINES[machine].build(pool, 3), 9, parts=3)
    times, labels = torch.tensor([0.05, 0.3, 0.6, 0.9], dtype=torch.float64), torch.tensor([3, 7, 7, 3])
    x_t = noisy(pool.images[:4], COSINE, times)
    together = preview.estimate(x_t, times, labels)
    for i in range(4):
        alone = preview.estimate(x_t[i : i + 1], times[i : i + 1], labels[i : i + 1])
        for name in ("x0_hat", "error", "error_map"):
            torch.testing.assert_close(getattr(alone, name)[0], getattr(together, name)[i], rtol=1e-6, atol=1e-9)


def test_the_map_adds_up_to_the_error():
    preview = Preview(IdealDenoiser(ImageSet(images(n=30, channels=3))), 12, parts=4)
    estimate = preview.estimate(noisy(images(n=3, channels=3), COSINE, TIMES).float(), TIMES)
    assert estimate.x0_hat.dtype == torch.float32
    square = 3 * estimate.error_map.square().sum((1, 2))
    size = estimate.x0_hat.double().square().sum((1, 2, 3))
    torch.testing.assert_close((square / size).sqrt(), estimate.error)


@pytest.mark.parametrize(("machine", "patch_size"), [("IS", 1), ("ES", 1), ("LS", 3), ("ELS", 3), ("bbELS", 5)])
def test_the_estimate_is_calibrated(machine, patch_size):
    """Real images, 40 random subsets, low to high noise: the true error is seldom twice the estimate, nor is it far below."""
    digits = load("digits", image_size=None)
    pool, unseen = digits.split(4, seed=1)
    pool = pool.subset(torch.arange(0, len(pool), 6))  # 299 images of all classes
    denoiser = MACHINES[machine].build(pool, patch_size)
    times = torch.tensor([0.1, 0.4, 0.7, 0.95], dtype=torch.float64)
    x_t = noisy(unseen.images, COSINE, times, dtype=torch.float32)
    exact = denoiser(x_t.double(), times)
    ratios = []
    for seed in range(40):
        estimate = Preview(denoiser, 48, seed=seed).estimate(x_t, times)
        ratios.append(relative(estimate.x0_hat.double(), exact) / estimate.error)
    ratios = torch.stack(ratios)  # (40, times)
    assert float((ratios <= 2).double().mean()) >= 0.9
    assert bool((ratios.square().mean(0).sqrt() > 0.5).all())
    assert bool((ratios.square().mean(0).sqrt() < 1.6).all())


def test_the_estimate_is_blind_to_an_outlier_that_is_not_in_the_subset():
    """One image alone matches the query. Without it all parts agree, and the estimate is small where the error is not."""
    pool = torch.full((200, 1, 4, 4), 0.5) + 0.01 * images(n=200, channels=1, height=4, width=4)
    preview = Preview(IdealDenoiser(ImageSet(pool)), 50)
    outlier = int(torch.isin(torch.arange(200), preview.chosen()).logical_not().nonzero()[0])
    pool[outlier] = -0.9
    machine = IdealDenoiser(ImageSet(pool))
    x_t = noisy(pool[outlier : outlier + 1], COSINE, 0.2)
    estimate = Preview(machine, 50).estimate(x_t, 0.2)
    assert float(relative(estimate.x0_hat, machine(x_t, 0.2))) > 1
    assert float(estimate.error) < 0.05


def test_it_is_a_denoiser_like_others():
    pool = labelled(n=20)
    machine = IdealDenoiser(pool)
    preview = Preview(machine, 10, parts=2)
    assert (preview.schedule, preview.image_shape, preview.classes) == (machine.schedule, machine.image_shape, (3, 7))
    assert preview.to("cpu") is preview
    assert preview.device == torch.device("cpu")
    assert sample(preview, seeds(2, pool.image_shape), steps=3, label=7).x0.shape == (2, *pool.image_shape)
    described = json.dumps(preview.describe())
    assert json.loads(described)["pool"] == pool.content_hash
    assert described != json.dumps(Preview(machine, 10, parts=2, seed=1).describe()) != json.dumps(machine.describe())


def test_the_memory_budget_is_the_machine_s():
    pool = ImageSet(images(n=40))
    x_t = noisy(pool.images[:6], COSINE, 0.3)
    for machine in ("IS", "ELS"):
        answers = [Preview(MACHINES[machine].build(pool, 3, memory_budget=2**size), 20)(x_t, 0.3) for size in (18, 30)]
        torch.testing.assert_close(*answers, rtol=0, atol=1e-10)


@pytest.mark.parametrize(("count", "parts"), [(1, 8), (7, 8), (8, 1), (0, 0)])
def test_a_preview_needs_parts(count, parts):
    with pytest.raises(PatchMosaicError, match=f"got {count} images in {parts} parts"):
        Preview(IdealDenoiser(ImageSet(images())), count, parts=parts)


def test_a_preview_needs_a_pool():
    with pytest.raises(PatchMosaicError, match="WienerDenoiser"):
        Preview(WienerDenoiser(ImageSet(images())), 4)


def test_bytes_are_previewed_like_numbers():
    stored = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (30, 1, 4, 4), dtype=np.uint8))
    x_t = noisy(images(n=3, channels=1, height=4, width=4), COSINE, TIMES)
    answers = [Preview(IdealDenoiser(ImageSet(kept)), 9)(x_t, TIMES) for kept in (stored, ImageSet(stored).images)]
    torch.testing.assert_close(*answers, rtol=0, atol=1e-12)


@pytest.mark.parametrize("wrapper", [Preview, Approximate])
def test_a_machine_spread_over_processes_is_not_asked_about_some_images(wrapper):
    machine = IdealDenoiser(ImageSet(images(n=100)))
    wrapped = wrapper(machine)
    machine._ranks = replace(machine._ranks, world=2, shards=2)
    with pytest.raises(PatchMosaicError, match="processes"):
        wrapped(noisy(images(n=1), COSINE, 0.5), 0.5)
