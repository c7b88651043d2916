import math

import numpy as np
import pytest
import torch

from patchmosaic.errors import LabelError, ShapeError
from patchmosaic.networks.embedding import Embedding, time_embedding


def test_time_embedding_is_that_of_the_paper() -> None:
    times = [0.0, 0.001, 0.05, 0.5, 0.999, 1.0]
    width, d = 256, 128
    expected = np.zeros((len(times), width))
    for row, t in enumerate(times):
        for j in range(d):
            angle = t / math.pow(10000, j / (d - 1))
            expected[row, j], expected[row, d + j] = math.sin(angle), math.cos(angle)
    got = time_embedding(torch.tensor(times), width).numpy()
    np.testing.assert_allclose(got, expected, atol=1e-7)


def test_first_pair_is_t_itself_and_last_is_t_over_10000() -> None:
    emb = time_embedding(torch.tensor([0.3], dtype=torch.float64), 8)[0]
    assert torch.atan2(emb[0], emb[4]).item() == pytest.approx(0.3, abs=1e-12)
    assert torch.atan2(emb[3], emb[7]).item() == pytest.approx(0.3e-4, abs=1e-12)


def test_sines_and_cosines_lie_on_circles() -> None:
    emb = time_embedding(torch.rand(50, generator=torch.Generator().manual_seed(0)), 64)
    torch.testing.assert_close(emb[:, :32] ** 2 + emb[:, 32:] ** 2, torch.ones(50, 32))


def test_the_class_is_an_added_vector() -> None:
    embedding = Embedding(16, num_classes=3)
    t = torch.tensor([0.1, 0.7])
    one, two = torch.tensor([1, 1]), torch.tensor([2, 2])
    difference = embedding(t, two) - embedding(t, one)
    torch.testing.assert_close(difference[0], difference[1])  # the same at every time
    assert difference.abs().max() > 0.01


@pytest.mark.parametrize("width", [0, 2, 7])
def test_widths_that_leave_no_frequencies_are_refused(width: int) -> None:
    with pytest.raises(ShapeError, match="even width"):
        Embedding(width)


def test_no_classes_at_all_is_refused() -> None:
    with pytest.raises(LabelError, match="at least one class"):
        Embedding(8, num_classes=0)
