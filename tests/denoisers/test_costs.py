"""Measured costs, on a clock that advances by what the work is known to cost."""

import time

import pytest
import torch

from patchmosaic.denoisers.costs import LONG_ENOUGH, Cost, measured

CPU = torch.device("cpu")


class Work:
    """Work that takes `call` + `image` n seconds of a clock of its own, and more the first time."""

    def __init__(self, monkeypatch, call, image):
        self.call, self.image, self.now, self.asked = call, image, 0.0, []
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)

    def __call__(self, images):
        self.now += self.call + self.image * images + (0 if self.asked else 5.0)
        self.asked.append(images)


@pytest.mark.parametrize(("call", "image"), [(1e-3, 1e-5), (0.0, 1e-2), (0.2, 1e-3), (1e-3, 1e-9)])
def test_a_linear_cost_is_found(monkeypatch, call, image):
    work = Work(monkeypatch, call, image)
    cost = measured(work, 64, 10**5, CPU)
    assert cost(64) == pytest.approx(call + 64 * image, rel=1e-6)
    if max(work.asked) > 64:
        assert cost.image == pytest.approx(image, rel=1e-3)
        assert cost(10**5) == pytest.approx(call + 1e5 * image, rel=1e-3)
    assert work.now <= 5 + 30 * max(LONG_ENOUGH, call + 64 * image)  # no long wait for a measurement


def test_no_more_images_than_there_are(monkeypatch):
    work = Work(monkeypatch, 1e-4, 1e-7)
    measured(work, 64, 100, CPU)
    assert max(work.asked) == 100
    work = Work(monkeypatch, 1e-4, 1e-7)
    measured(work, 64, 64, CPU)
    assert max(work.asked) == 64


def test_a_cost_can_be_turned_round():
    cost = Cost(0.5, 0.01)
    assert cost(100) == 1.5
    assert cost.images(1.5) == 100
    assert cost.images(0.1) == 0
    assert Cost(0.0, 0.0).images(1.0) > 10**9
