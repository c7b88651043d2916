"""The published numbers, typed in once: what can be said of them without typing them again."""

from patchmosaic.experiments.papers.published import SCALES, TABLE
from patchmosaic.locality import LocalityScale
from patchmosaic.noise import CosineSchedule


def test_the_table_has_eleven_rows_of_correlations_and_shares() -> None:
    assert len(TABLE) == 11
    for row in TABLE.values():
        assert set(row) == {20, 150}
        for line in row.values():
            assert 0 < line.ideal < line.ls <= 1
            assert line.ideal < line.els <= 1
            assert 0.9 <= line.beats_ideal <= 1
    # Where the table is quoted: ELS beats LS on all ResNets, by most on circular MNIST.
    gains = {title: row[150].els - row[150].ls for title, row in TABLE.items() if "ResNet" in title}
    assert min(gains.values()) > 0
    assert max(gains, key=lambda title: gains[title]) == "MNIST ResNet circular"


def test_scales_have_20_odd_sizes_and_grow_with_the_noise_but_one() -> None:
    assert set(SCALES) == set(TABLE) - {"CIFAR UNet+SA"}
    for title, sizes in SCALES.items():
        scale = LocalityScale.from_steps(CosineSchedule(), sizes)
        assert len(sizes) == 20
        assert sizes[0] == 3
        assert (scale.monotone() == scale) == (title != "MNIST ResNet circular")
