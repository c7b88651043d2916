"""Memorisation and novelty: the pictures show the images that they name, and the numbers that were found."""

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from patchmosaic.analysis.memorisation import COPY_THRESHOLD, memorisation
from patchmosaic.analysis.novelty import Novelty, PatchNovelty, novelty
from patchmosaic.data.imageset import ImageSet
from patchmosaic.errors import PatchMosaicError, ShapeError
from patchmosaic.plots.memorisation import MemorisationDisplay
from patchmosaic.plots.novelty import NoveltyDisplay


def uniform(*shape, seed=0):
    return 2 * torch.rand(shape, generator=torch.Generator().manual_seed(seed)) - 1


@pytest.fixture(scope="module", params=[1, 3])
def found(request):
    pool = ImageSet(uniform(30, request.param, 6, 6))
    images = torch.cat([uniform(5, request.param, 6, 6, seed=1), pool.images[[4]].roll((1, -2), (2, 3))])
    return memorisation(images, pool, held_out=6, reach=3), images


def shown(ax):
    """Images by (column, row), from their places."""
    extents = [one.get_extent() for one in ax.images]
    lefts, tops = (sorted({round(extent[i], 6) for extent in extents}) for i in (0, 3))
    return {(lefts.index(round(one.get_extent()[0], 6)), tops.index(round(one.get_extent()[3], 6))): one for one in ax.images}


def pixels_of(image):
    values = np.rint((image.numpy() + 1) * 127.5).transpose(1, 2, 0)
    return values[..., 0] if values.shape[2] == 1 else values


def test_images_stand_above_their_nearest_training_images(found):
    result, images = found
    display = MemorisationDisplay.from_memorisation(result, images, 4, title="samples").plot()
    places = shown(display.panels_[0])
    assert set(places) == {(column, row) for column in range(4) for row in range(3)}
    order = np.argsort(result.images.ratio.numpy())[:4]
    assert order[0] == 5  # the copy comes first
    for column, i in enumerate(order):
        np.testing.assert_array_equal(places[column, 0].get_array(), pixels_of(images[i]))
        for rank in (0, 1):
            moved = result.pool.images[result.images.index[i, rank]].roll(tuple(result.images.shift[i, rank].tolist()), (1, 2))
            np.testing.assert_array_equal(places[column, 1 + rank].get_array(), pixels_of(moved))
    frames = display.panels_[0].patches
    assert len(frames) == 2  # round the copy and its source
    assert display.panels_[0].get_title(loc="left").startswith("1 of 6 samples is a copy")
    assert "1 of 6 samples are copies" in display.alt


def test_the_histogram_counts_images_and_real_images(found):
    result, images = found
    histogram = MemorisationDisplay(result, images).plot().panels_[1]
    real, mine = (patch.get_data() for patch in histogram.patches[:2])
    for drawn, ratios in [(real, result.held_out.ratio), (mine, result.images.ratio)]:
        counts = [
            ((low <= ratios) & ((ratios < high) | bool(high == 1))).sum()
            for low, high in zip(drawn.edges, drawn.edges[1:], strict=False)
        ]
        np.testing.assert_allclose(drawn.values, np.array(counts) / len(ratios))
    assert min(abs(edge - COPY_THRESHOLD) for edge in mine.edges) < 1e-12  # no bin is half copies
    labels = [text.get_text() for text in histogram.get_legend().get_texts()]
    assert labels == ["6 real images held out", "6 images"]


def test_novelty_is_drawn_as_medians_with_quartiles():
    generator = torch.Generator().manual_seed(0)
    mine, real = (PatchNovelty(torch.rand((3, 5, 4, 4), generator=generator).double(), torch.ones(5).double()) for _ in "ab")
    display = NoveltyDisplay.from_novelty(Novelty((3, 5, 9), mine, real), "LS").plot()
    far, arrangement = display.panels_
    line = {one.get_label(): one for one in far.lines}
    expected = [*np.median(np.sqrt((mine.distances.numpy() ** 2).mean((2, 3))), axis=1), 1.0]
    np.testing.assert_allclose(line["LS"].get_ydata(), expected)
    np.testing.assert_allclose(line["real images, held out"].get_ydata()[-1], 1.0)
    drawn = next(one for one in arrangement.lines if one.get_label() == "LS")
    np.testing.assert_allclose(drawn.get_ydata(), 1 - np.array(expected[:3]))
    assert [tick.get_text() for tick in far.get_xticklabels()] == ["3", "5", "9", "whole\nimage"]
    assert f"LS: {expected[0]:.3f} at 3" in display.alt


def test_several_sets_share_the_real_images(tmp_path):
    pool = ImageSet(uniform(20, 1, 6, 6))
    results = {
        name: novelty(images, pool, (3, 5), held_out=3)
        for name, images in [("IS", pool.images[:2]), ("network", uniform(2, 1, 6, 6, seed=2))]
    }
    display = NoveltyDisplay(results)
    assert list(display.sets) == ["network", "IS"]
    assert display.save(tmp_path / "novelty.png").stat().st_size > 5000
    with pytest.raises(PatchMosaicError, match="same patch sizes"):
        NoveltyDisplay({**results, "more": novelty(pool.images[:1], pool, (3,), held_out=3)})
    with pytest.raises(PatchMosaicError, match="same patch sizes"):
        NoveltyDisplay({})


def test_what_does_not_belong_together_is_refused(found):
    result, images = found
    with pytest.raises(ShapeError, match="6 images of the result"):
        MemorisationDisplay(result, images[:3])
    with pytest.raises(PatchMosaicError, match="one column"):
        MemorisationDisplay(result, images, 0)
    with pytest.raises(PatchMosaicError, match="axes made by subplots"):
        MemorisationDisplay(result, images).plot(Figure().add_axes((0, 0, 1, 1)))
