"""Pictures of limb counts: what is drawn, read back from matplotlib's artists, is what was given."""

import numpy as np
import pytest
import torch
from PIL import Image

from patchmosaic.analysis.tally import LimbTally
from patchmosaic.errors import PatchMosaicError
from patchmosaic.plots.grid import to_pixels
from patchmosaic.plots.limbs import COLOURS, GalleryRow, LimbGalleryDisplay, LimbSharesDisplay
from patchmosaic.plots.style import DARK

GROUPS = {
    "bbELS": {"3": LimbTally((-1, 4, 4, 5), 5), "9": LimbTally((5, 6, 8, 5), 5), "23": LimbTally((5, 5, 5, 5), 5)},
    "no patches": {"network": LimbTally((5, 4, 5, 5), 5)},
}


def rows(counts=((5, 6, 4, -1, 5), (7, 6, 5, 5, 5))):
    generator = torch.Generator().manual_seed(0)
    return [
        GalleryRow(f"P = {i}", "50% wrong", torch.rand((len(one), 1, 8, 8), generator=generator) * 2 - 1, LimbTally(one, 5))
        for i, one in enumerate(counts)
    ]


@pytest.mark.parametrize("display", [LimbSharesDisplay("Hands", GROUPS), LimbGalleryDisplay("Hands", rows())])
def test_each_is_a_picture_with_words_in_either_theme(display, tmp_path):
    with Image.open(display.plot(theme=DARK).save(tmp_path / "a.png", dpi=100)) as picture:
        assert np.allclose(picture.size, [100 * side for side in display.size], atol=1)
    assert "Hands" in display.alt


def test_bars_are_the_shares():
    display = LimbSharesDisplay("Hands", GROUPS).plot()
    for panel, bars in zip(display.panels_, GROUPS.values(), strict=True):
        assert [label.get_text() for label in panel.get_xticklabels()] == list(bars)
        stacks = [[bar.get_height() for bar in container] for container in panel.containers]
        for verdict, heights in zip([*COLOURS, "right"], stacks, strict=True):
            assert heights == pytest.approx([tally.share(verdict).value for tally in bars.values()])
        for tally, line in zip(bars.values(), panel.lines, strict=True):
            assert list(line.get_ydata()) == pytest.approx([tally.wrong.low, tally.wrong.high])
    assert "9: 50% too many, 50% wrong in all" in display.alt


def test_the_gallery_shows_the_seeds_with_most_excess_and_their_counts():
    given = rows()
    display = LimbGalleryDisplay("Hands", given, count=2).plot()
    assert display.seeds == (0, 1)
    shown = [image.get_array() for image in display.ax_.images]
    expected = [pixels for row in given for pixels in to_pixels(row.images[:2])]
    assert all(np.array_equal(one, two) for one, two in zip(shown, expected, strict=True))
    texts = [text.get_text() for text in display.ax_.texts]
    assert [text for text in texts if text.isdigit()] == ["5", "6", "7", "6"]
    frames = [patch for patch in display.ax_.patches if patch.get_width() > 0.2]
    assert len(frames) == 3


def test_an_image_without_figure_has_no_number():
    display = LimbGalleryDisplay("Hands", rows(), count=5).plot()
    assert "none" in [text.get_text() for text in display.ax_.texts]
    assert "5, 6, 4, none, 5" in display.alt


def test_what_cannot_be_shown_is_refused():
    with pytest.raises(PatchMosaicError, match="in each group"):
        LimbSharesDisplay("Hands", {})
    with pytest.raises(PatchMosaicError, match="in each group"):
        LimbSharesDisplay("Hands", {"bbELS": {}})
    for wrong in ([], rows(((5, 6), (5,)))):
        with pytest.raises(PatchMosaicError, match="the same seeds"):
            LimbGalleryDisplay("Hands", wrong)
