"""Where pixels come from, against a brute force over every candidate, for every machine that has an answer."""

import numpy as np
import pytest
import torch

import patchmosaic as pm
from patchmosaic.denoisers.relatives import KernelDensityDenoiser, PatchCompositeDenoiser, SoftWindowDenoiser
from patchmosaic.engine import oracle
from patchmosaic.errors import PatchMosaicError
from patchmosaic.provenance import trace

PATCH_SIZE, TOP, T = 3, 7, 0.4
NAMES = {
    "IS": "ideal",
    "ES": "equivariant",
    "LS": "local",
    "ELS": "equivariant_local",
    "bbELS": "boundary_broken",
}


def pool(labels=True):
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.integers(0, 256, (18, 2, 5, 6), dtype=np.uint8))
    return pm.ImageSet(images, torch.arange(18) % 3 if labels else None)


def machine(name, images, schedule=None):
    kind = pm.denoisers.MACHINES[name]
    patch = (PATCH_SIZE,) if name in ("LS", "ELS", "bbELS") else ()
    return kind(images, *patch, schedule=schedule)


def brute_force(name, x_t, images, t, row, column):
    alpha, sigma = (float(scale) for scale in pm.noise.CosineSchedule()(t))
    patch = PATCH_SIZE if name in ("LS", "ELS", "bbELS") else None
    return oracle.candidates(NAMES[name], x_t.double().numpy(), images.double().numpy(), alpha, sigma, row, column, patch)


@pytest.mark.parametrize("name", NAMES)
def test_every_machine_names_its_sources(name):
    images = pool()
    x_t = pm.seeds(2, images.image_shape).double()
    found = trace(machine(name, images), x_t, T, top=TOP)
    torch.testing.assert_close(found.x0_hat, machine(name, images)(x_t, T), rtol=0, atol=1e-12)
    for row, column in [(0, 0), (2, 3), (4, 1), (3, 5)]:
        expected = brute_force(name, x_t, images.images, T, row, column)
        for sample, weights in enumerate(expected.posterior_weights):
            at = (sample, row, column)
            order = np.argsort(-weights, kind="stable")[:TOP]
            assert int(found.candidates[at]) == len(weights)
            np.testing.assert_allclose(found.weight[at].numpy(), weights[order], rtol=1e-8)
            assert found.image[at].tolist() == expected.image[order].tolist()
            assert found.row[at].tolist() == expected.row[order].tolist()
            assert found.column[at].tolist() == expected.column[order].tolist()
            entropy = -(weights * np.log(weights)).sum()
            assert float(found.entropy[at]) == pytest.approx(entropy, rel=1e-9)
            assert float(found.entropy_share[at]) == pytest.approx(entropy / np.log(len(weights)), rel=1e-9)
            assert float(found.effective_patches[at]) == pytest.approx(1 / (weights**2).sum(), rel=1e-9)
            of_images = np.bincount(expected.image, weights=weights)
            assert float(found.effective_images[at]) == pytest.approx(1 / (of_images**2).sum(), rel=1e-9)
            assert float(found.captured[at]) == pytest.approx(weights[order].sum(), rel=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_a_class_is_its_own_pool(name):
    images = pool()
    x_t = pm.seeds(3, images.image_shape).double()
    labels = torch.tensor([2, 0, 2])
    found = trace(machine(name, images), x_t, T, labels, top=TOP)
    assert found.label is not None
    named = found.image >= 0
    assert bool((found.label == labels[:, None, None, None])[named].all())
    alone = trace(machine(name, images.subset(images.labels == 2)), x_t[:1], T, top=TOP)
    torch.testing.assert_close(found.weight[0], alone.weight[0])
    torch.testing.assert_close(found.candidates[0], alone.candidates[0])
    torch.testing.assert_close(found.image[0], torch.where(alone.image[0] < 0, -1, images.of_class(2)[alone.image[0]]))


def test_fewer_candidates_than_asked_for():
    images = pool(labels=False)
    found = trace(machine("LS", images), pm.seeds(1, images.image_shape), T, top=25)
    assert found.label is None
    assert bool((found.image[..., 18:] == -1).all())
    assert bool((found.weight[..., 18:] == 0).all())
    torch.testing.assert_close(found.captured, torch.ones_like(found.captured))
    assert found.patch_size == PATCH_SIZE


def test_all_weights_of_a_small_pool_sum_to_one_and_make_the_image():
    images = pool()
    candidates = 18 * 5 * 6
    x_t = pm.seeds(1, images.image_shape).double()
    found = trace(machine("ELS", images), x_t, T, top=candidates)
    torch.testing.assert_close(found.captured, torch.ones_like(found.captured))
    values = images.at(slice(None), torch.float64)[found.image, :, found.row, found.column]  # (B, H, W, k, C)
    mean = (found.weight[..., None] * values).sum(3).permute(0, 3, 1, 2)
    torch.testing.assert_close(mean, found.x0_hat)


def test_a_pool_of_one_image_leaves_no_doubt():
    images = pool().subset(torch.tensor([4]))
    found = trace(machine("IS", images), pm.seeds(1, images.image_shape), T)
    assert bool((found.entropy == 0).all())
    assert bool((found.entropy_share == 0).all())
    assert bool((found.effective_images == 1).all())


def test_float32_is_as_good_as_it_says():
    images = pool()
    x_t = pm.seeds(2, images.image_shape)
    for name in NAMES:
        for t in (0.05, 0.4, 0.9):
            rough, fine = (trace(machine(name, images), x, t, top=TOP) for x in (x_t, x_t.double()))
            torch.testing.assert_close(rough.weight, fine.weight, rtol=1e-3, atol=1e-6)
            torch.testing.assert_close(rough.entropy, fine.entropy, rtol=1e-3, atol=1e-4)


def test_the_answer_does_not_depend_on_the_memory_budget():
    images = pool()
    x_t = pm.seeds(3, images.image_shape).double()
    for name in NAMES:
        wide = machine(name, images)
        narrow = machine(name, images)
        narrow.memory_budget = 2**20
        a, b = trace(wide, x_t, T, top=TOP), trace(narrow, x_t, T, top=TOP)
        torch.testing.assert_close(a.weight, b.weight)
        torch.testing.assert_close(a.entropy, b.entropy)
        assert bool((a.image == b.image).all())


def test_relatives_of_the_machines_have_a_provenance_too():
    images = pool()
    x_t = pm.seeds(1, images.image_shape).double()
    square = torch.ones(PATCH_SIZE, PATCH_SIZE, dtype=torch.float64)
    for rule, name in [("same position", "LS"), ("same border", "bbELS"), ("anywhere", "ELS")]:
        soft = trace(SoftWindowDenoiser(images, square, rule), x_t, T, top=TOP)
        hard = trace(machine(name, images), x_t, T, top=TOP)
        torch.testing.assert_close(soft.weight, hard.weight)
        torch.testing.assert_close(soft.candidates, hard.candidates)
        assert bool((soft.image == hard.image).all())
        assert bool((soft.row == hard.row).all())
    ideal, sharp = trace(machine("IS", images), x_t, T), trace(KernelDensityDenoiser(images, 0.0), x_t, T)
    torch.testing.assert_close(ideal.weight, sharp.weight)


def test_what_has_no_provenance_says_so():
    images = pool()
    x_t = pm.seeds(1, images.image_shape)
    for other in (pm.WienerDenoiser(images), PatchCompositeDenoiser(images, 3)):
        with pytest.raises(PatchMosaicError, match="only machines that average training pixels"):
            trace(other, x_t, T)
    with pytest.raises(PatchMosaicError, match="at least one source"):
        trace(machine("IS", images), x_t, T, top=0)
