"""Pictures of provenance, read back from matplotlib's artists: what is drawn is what the pixels believe."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

import patchmosaic as pm
from patchmosaic.errors import PatchMosaicError
from patchmosaic.plots import DARK, LIGHT
from patchmosaic.plots.belief_maps import BeliefMapsDisplay
from patchmosaic.plots.canvas import Laid, cut_window
from patchmosaic.plots.consistency import ConsistencyDisplay
from patchmosaic.plots.grid import to_pixels
from patchmosaic.plots.mosaic import OTHER_COLOURS, PALE, SOURCE_COLOURS, MosaicDisplay, source_colours
from patchmosaic.plots.pixel_sources import PixelSourcesDisplay
from patchmosaic.plots.style import plain
from patchmosaic.provenance import trace
from patchmosaic.provenance.consistency import Consistency


def pool(channels=1, labels=True, count=30):
    images = 2 * torch.rand((count, channels, 7, 6), generator=torch.Generator().manual_seed(channels)) - 1
    names = ("$first$", "a class with a long name")
    return pm.ImageSet(images, torch.arange(count) % 3 if labels else None, class_names=names)


def provenance(images, machine=pm.EquivariantLocalDenoiser, t=0.25, **options):
    denoiser = machine(images, **({} if machine is pm.IdealDenoiser else {"patch_size": 3}))
    x_t = 0.8 * images.images[:2] + 0.5 * pm.seeds(2, images.image_shape)
    return trace(denoiser, x_t, t, **options)


@pytest.fixture(params=[(1, True), (3, False)], ids=["grey", "rgb without labels"])
def traced(request):
    return provenance(pool(*request.param))


def displays(p):
    maps = BeliefMapsDisplay.from_provenances([p, p, p], [10.0, 1.0, 0.1], title="a $title$")
    return [MosaicDisplay.from_provenance(p, title="a $title$"), PixelSourcesDisplay(p, (2, 3)), maps]


def words(display):
    return [text.get_text() for text in display.ax_.texts]


def test_each_is_a_picture_with_words_in_either_theme(traced, tmp_path):
    for i, display in enumerate(displays(traced)):
        for theme in (LIGHT, DARK):
            with Image.open(display.plot(theme=theme).save(tmp_path / f"{i}.png", dpi=100)) as picture:
                assert np.allclose(picture.size, [100 * side for side in display.size], atol=1)
        assert len(display.alt) > 100


def test_everything_lies_within_the_page(traced):
    for display in displays(traced):
        width, height = display.plot().size
        assert display.ax_.get_xlim() == (0, width)
        assert display.ax_.get_ylim() == (height, 0)
        for image in display.ax_.images:
            left, right, bottom, top = image.get_extent()
            assert 0 < left < right < width
            assert 0 < top < bottom < height
        display.figure_.draw_without_rendering()
        for text in display.ax_.texts:
            box = text.get_window_extent().transformed(display.ax_.transData.inverted())
            assert min(box.x0, box.x1, box.y0, box.y1) > -0.01
            assert max(box.x0, box.x1) < width + 0.01
            assert max(box.y0, box.y1) < height + 0.01


def test_they_draw_on_an_axes_that_is_given(traced):
    axes = Figure(figsize=(9, 9)).subplots(3, 1)
    for ax, display in zip(axes, displays(traced), strict=True):
        assert display.plot(ax).ax_ is ax


# Mosaic.


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_every_pixel_has_the_colour_of_its_source(theme):
    display = MosaicDisplay.from_provenance(provenance(pool(count=12)))
    mosaic = display.mosaic
    drawn, cut, coloured = (image.get_array() for image in display.plot(theme=theme).ax_.images[:3])
    assert np.array_equal(drawn, to_pixels(display.drawn[None])[0])
    assert np.array_equal(drawn, cut)
    bright = [image for image, colour in display.colours.items() if colour in SOURCE_COLOURS]
    assert bright == list(mosaic.settled_sources)[: len(SOURCE_COLOURS)]
    assert 0.1 < mosaic.settled_share < 0.9
    for place in np.ndindex(*mosaic.image.shape):
        colour = np.array(to_rgb(display.colours[int(mosaic.image[place])]))
        if float(mosaic.weight[place]) <= 0.5:
            colour = (1 - PALE) * colour + PALE * np.array(to_rgb(theme.paper))
        assert np.allclose(coloured[place], 255 * colour, atol=0.51)


def test_thumbnails_are_the_sources_in_frames_of_their_colours():
    images = pool(count=12)
    display = MosaicDisplay.from_provenance(provenance(images)).plot()
    thumbnails, frames = display.ax_.images[3:], display.ax_.lines
    assert len(thumbnails) == len(frames) == len(display.shown) > 2
    for number, thumbnail, frame in zip(display.shown, thumbnails, frames, strict=True):
        assert np.array_equal(thumbnail.get_array(), to_pixels(images.images[number : number + 1])[0])
        assert frame.get_color() == display.colours[number]
        left, right, bottom, top = thumbnail.get_extent()
        assert set(np.round(frame.get_xdata(), 6)) == {round(left, 6), round(right, 6)}
        assert set(np.round(frame.get_ydata(), 6)) == {round(top, 6), round(bottom, 6)}
    settled = display.mosaic.image[display.mosaic.weight > 0.5]
    first = display.shown[0]
    share = float((settled == first).sum()) / display.mosaic.image.numel()
    captions = [text for text in words(display) if f"image {first}\n" in text or text.endswith(f"image {first}")]
    assert len(captions) == 1
    assert f"{share:.1%} of pixels" in captions[0]


def test_boundaries_lie_between_the_pixels_of_different_pieces():
    display = MosaicDisplay.from_provenance(provenance(pool(count=12))).plot()
    (cuts, _), panel = display.ax_.collections, display.ax_.images[1]
    left, right, _, top = panel.get_extent()
    side = (right - left) / 6
    corners = np.array(cuts.get_segments())  # (edges, 2, 2) as (x, y)
    found = np.stack([(corners[..., 1] - top) / side, (corners[..., 0] - left) / side], -1)
    assert np.allclose(found, display.mosaic.settled_boundary.numpy(), atol=1e-6)
    assert len(found) > 10


def test_bright_colours_are_for_the_first_images_and_neighbouring_greys_differ():
    p = provenance(pool(count=30), t=0.1)
    display = MosaicDisplay.from_provenance(p)
    colours = source_colours(display.mosaic)
    assert len(display.mosaic.settled_sources) > len(SOURCE_COLOURS)
    assert sorted(colours) == sorted(display.mosaic.sources)
    assert sum(colour in SOURCE_COLOURS for colour in colours.values()) == len(SOURCE_COLOURS)
    assert {colour for colour in colours.values() if colour not in SOURCE_COLOURS} <= set(OTHER_COLOURS)


def test_a_mosaic_without_settled_pixels_has_no_thumbnails():
    p = provenance(pool(), t=1.0)
    display = MosaicDisplay.from_provenance(p).plot()
    assert display.mosaic.settled_share == 0
    assert len(display.ax_.images) == 3
    assert display.size[1] < MosaicDisplay.from_provenance(provenance(pool())).size[1]
    assert "none" in display.alt


def test_a_mosaic_of_another_size_is_refused():
    display = MosaicDisplay.from_provenance(provenance(pool()))
    with pytest.raises(PatchMosaicError, match="differ in size"):
        MosaicDisplay(display.drawn[:, 1:], display.mosaic, pool())


# One pixel.


def test_the_list_shows_the_patches_their_weights_and_the_rest():
    images = pool()
    p = provenance(images, top=5)
    display = PixelSourcesDisplay(p, (2, 3), 1).plot()
    place = (1, 2, 3)
    patches = [image.get_array() for image in display.ax_.images if np.shape(image.get_array())[:2] == (3, 3)]
    assert len(patches) == 2 + 5  # of x_t, of x0_hat, and of each source
    for patch, rank in zip(patches[2:], range(5), strict=True):
        source = (*place, rank)
        rolled = images.images[p.image[source]].roll((3 - int(p.row[source]), 3 - int(p.column[source])), (1, 2))
        assert np.array_equal(patch[..., 0], to_pixels(rolled[None, :, 2:5, 2:5])[0])
        assert (patch[..., 3] == 255).all()
    weights = [*p.weight[place].tolist(), 1 - float(p.weight[place].sum())]
    bars = [patch for patch in display.ax_.patches if patch.get_fill() and patch.get_height() == pytest.approx(0.1)]
    full, filled = [bar.get_width() for bar in bars[::2]], [bar.get_width() for bar in bars[1::2]]
    np.testing.assert_allclose(np.array(filled) / np.array(full), weights, atol=1e-9)
    assert f"all {int(p.candidates[place]) - 5:,} others" in words(display)
    assert display.heading in words(display)
    assert {plain(sentence) for sentence in display.answer} <= set(words(display))
    best = to_pixels(images.images[p.image[(*place, 0)]][None])[0]
    assert np.array_equal(display.ax_.images[-1].get_array(), best)


def test_beyond_the_border_a_window_is_empty_or_goes_round():
    pixels = np.arange(42, dtype=np.uint8).reshape(7, 6)
    cut = cut_window(pixels, 0, 5, 3, torus=False)
    assert (cut[..., 3] == 0).tolist() == [[True, True, True], [False, False, True], [False, False, True]]
    assert cut[1:, :2, 0].tolist() == [[4, 5], [10, 11]]
    assert cut_window(pixels, 0, 5, 3, torus=True)[..., 0].tolist() == [[40, 41, 36], [4, 5, 0], [10, 11, 6]]


AROUND = [(0, 0, 2, 1), (0, 4, 2, 2), (6, 0, 1, 1), (6, 4, 1, 2)]


@pytest.mark.parametrize(("torus", "expected"), [(False, [(0, 4, 2, 2)]), (True, AROUND)])
def test_frames_are_cut_at_the_border_or_go_round(torus, expected):
    ax = Figure().subplots()
    Laid(np.zeros((7, 6), np.uint8), 1.0, 2.0, 6.0).frame(ax, 0, 5, 3, torus=torus)
    found = [(round(r.get_y() - 2), round(r.get_x() - 1), round(r.get_height()), round(r.get_width())) for r in ax.patches]
    assert sorted(found) == expected


def test_a_machine_that_sees_the_whole_image_shows_whole_images():
    images = pool()
    p = provenance(images, pm.IdealDenoiser)
    display = PixelSourcesDisplay(p, (1, 1)).plot()
    listed = [image.get_array() for image in display.ax_.images if np.shape(image.get_array())[2:] == (4,)]
    expected = to_pixels(images.images[p.image[0, 1, 1, 0]][None])[0]
    inside = listed[2][..., 3] == 255
    assert np.array_equal(listed[2][..., 0][inside].reshape(7, 6), expected)


def test_a_pixel_that_is_not_there_is_refused():
    with pytest.raises(PatchMosaicError, match="7 x 6"):
        PixelSourcesDisplay(provenance(pool()), (7, 0))


# Maps.


def test_maps_show_the_belief_at_each_noise_level():
    images = pool()
    steps = [provenance(images, t=t) for t in (0.9, 0.5, 0.2)]
    levels = [10.0, 1.0, 0.3]
    display = BeliefMapsDisplay.from_provenances(steps, levels, 1).plot()
    pictures = [np.asarray(image.get_array()) for image in display.ax_.images]
    drawn, shares, effective = pictures[:3], pictures[3:6], pictures[7:10]  # after each row of maps its scale
    for i, p in enumerate(steps):
        assert np.array_equal(drawn[i], to_pixels(p.x0_hat[1:])[0])
        np.testing.assert_array_equal(shares[i], p.entropy_share[1].numpy())
        np.testing.assert_array_equal(effective[i], p.effective_patches[1].numpy())
    norms = [image.norm for image in display.ax_.images]
    assert (norms[3].vmin, norms[3].vmax) == (0, 1)
    assert norms[7].vmin == 1
    assert norms[7].vmax >= max(float(p.effective_patches[1].max()) for p in steps)
    assert {"10", "1", "0.3"} <= set(words(display))


def test_maps_need_a_level_a_step():
    p = provenance(pool())
    with pytest.raises(PatchMosaicError, match="2 levels and 1 steps"):
        BeliefMapsDisplay.from_provenances([p], [1.0, 2.0])
    with pytest.raises(PatchMosaicError, match="0 levels and 0 steps"):
        BeliefMapsDisplay.from_provenances([], [])


# Consistency.


def test_a_line_is_the_mean_and_a_dot_a_seed():
    shares = torch.tensor([[0.2, 0.4], [0.7, 0.9], [0.9, 1.0]], dtype=torch.float64)
    study = Consistency("LS", (0, 1), (5, 10, 20), (0.3, 0.2, 0.1), 0.01, shares)
    display = ConsistencyDisplay([study]).plot()
    np.testing.assert_allclose(display.ax_.lines[0].get_xydata(), [(5, 0.3), (10, 0.8), (20, 0.95)])
    dots = np.concatenate([np.asarray(dots.get_offsets()) for dots in display.ax_.collections])
    np.testing.assert_allclose(dots, [(5, 0.2), (5, 0.4), (10, 0.7), (10, 0.9), (20, 0.9), (20, 1.0)])
    assert "95% at 20" in display.alt
    both = ConsistencyDisplay([study, replace(study, machine="ELS")]).plot()
    assert [text.get_text() for text in both.ax_.get_legend().get_texts()] == ["LS  (2 seeds)", "ELS  (2 seeds)"]
    assert len({dots.get_offsets()[0][0] for dots in both.ax_.collections}) == 6  # side by side
    with pytest.raises(PatchMosaicError, match="no study"):
        ConsistencyDisplay([])
