"""What is said of a pixel is what its belief says, in numbers that can be read out of the sentences."""

import re

import pytest
import torch

import patchmosaic as pm
from patchmosaic.errors import PatchMosaicError
from patchmosaic.provenance import trace
from patchmosaic.provenance.explanation import answer, class_name, percent, question, shade, telling_pixel

POOL = pm.data.load("digits", image_size=None, limit=200)


def provenance(machine, t=0.2, sample=3):
    state = 0.9 * POOL.images[sample : sample + 1] + 0.2 * pm.seeds(1, POOL.image_shape)
    return trace(machine, state, t, top=6)


@pytest.mark.parametrize(
    ("value", "word"), [(-1.0, "black"), (-0.5, "dark grey"), (0.0, "grey"), (0.5, "light grey"), (1.3, "white")]
)
def test_shades_have_names(value, word):
    assert shade(torch.tensor([value])) == word


def test_colours_are_numbers():
    assert shade(torch.tensor([-1.0, 0.0, 2.0])) == "rgb(0, 128, 255)"


def test_the_question_names_the_pixel():
    p = provenance(pm.LocalDenoiser(POOL, 3))
    p.x0_hat[0, 0, 2, 5] = 0.99
    assert question(p, (2, 5)) == "Why is pixel (2, 5) white?"


def test_the_answer_counts_and_names_the_likeliest_source():
    p = provenance(pm.BoundaryBrokenDenoiser(POOL, 3))
    place = tuple((p.weight[..., 0] > 0.6).nonzero()[0].tolist())
    sees, believes, averages = answer(p, place[1:])
    assert f"the 3 x 3 pixels round it, and compares what it sees with {int(p.candidates[place]):,} training patches" in sees
    image = int(p.image[place][0])
    where = f"pixel ({int(p.row[place][0])}, {int(p.column[place][0])}) of image {image}, class {int(POOL.labels[image])}."
    assert believes.endswith(where)
    assert float(believes.split("%")[0]) == pytest.approx(100 * float(p.weight[place][0]), abs=0.51)
    pattern = r"The (\d) likeliest sources hold ([\d.]+)%.* averages ([\d.]+) .* ([\d.]+) "
    known, share, patches, images = re.match(pattern, averages).groups()
    assert int(known) == 6
    assert float(share) == pytest.approx(100 * float(p.weight[place].sum()), abs=0.51)
    assert float(patches) == pytest.approx(float(p.effective_patches[place]), abs=0.051)
    assert float(images) == pytest.approx(float(p.effective_images[place]), abs=0.051)


def test_a_pixel_without_a_likely_source_says_so():
    p = provenance(pm.BoundaryBrokenDenoiser(POOL, 3), t=0.9)
    assert answer(p, (3, 3))[1].startswith("No source has half of its belief; the likeliest, pixel (")


@pytest.mark.parametrize(
    ("machine", "words"),
    [
        (pm.IdealDenoiser(POOL), "the whole image, and compares what it sees with 200 training images"),
        (pm.EquivariantDenoiser(POOL), "the whole image, and compares what it sees with 12,800 translated training images"),
    ],
)
def test_machines_that_see_everything_compare_images(machine, words):
    sentences = answer(provenance(machine), (3, 3))
    assert words in sentences[0]
    assert "patch" not in " ".join(sentences)


def test_the_telling_pixel_is_sure_and_stands_out():
    """All pixels are sure of their source or none, black or white; the one that is both sure and white is asked about."""
    p = provenance(pm.LocalDenoiser(POOL, 3))
    p.x0_hat[:] = -1.0
    p.weight[:] = torch.tensor([0.9] + [0.02] * 5)
    p.x0_hat[0, 0, 1, 4] = p.x0_hat[0, 0, 6, 2] = 1.0
    p.weight[0, 1, 4, :2] = 0.45
    assert telling_pixel(p) == (6, 2)


@pytest.mark.parametrize("pixel", [(8, 0), (0, -1), (3,), (1, 2, 3)])
def test_pixels_that_are_not_there_are_refused(pixel):
    p = provenance(pm.LocalDenoiser(POOL, 3))
    with pytest.raises(PatchMosaicError, match="8 x 8"):
        question(p, pixel)
    with pytest.raises(PatchMosaicError, match="of sample 1"):
        answer(p, (0, 0), 1)


def test_classes_are_named_where_they_have_names():
    images = torch.zeros(3, 1, 2, 2)
    assert class_name(pm.ImageSet(images), 0) == []
    assert class_name(pm.ImageSet(images, [0, 1, 2], class_names=("cat", "7")), 0) == ["cat"]
    assert class_name(pm.ImageSet(images, [0, 1, 2], class_names=("cat", "7")), 1) == ["class 7"]
    assert class_name(pm.ImageSet(images, [0, 1, 2], class_names=("cat", "7")), 2) == ["class 2"]


SHARES = {0.0: "0%", 1e-5: "< 0.1%", 0.004: "0.4%", 0.38: "38%", 0.997: "99.7%", 0.99999: "100%", 1.0: "100%"}


@pytest.mark.parametrize(("share", "text"), SHARES.items())
def test_shares_are_written_as_people_do(share, text):
    assert percent(share) == text
