"""A network is judged by one that is known: a module that computes IS, and says it as eps, x0, v or score."""

import inspect
import json

import pytest
import torch
from machine_cases import images, labelled, noisy
from torch import nn

from patchmosaic.data.imageset import ImageSet
from patchmosaic.denoisers import IdealDenoiser, NetworkDenoiser
from patchmosaic.errors import LabelError, NoiseLevelError, PatchMosaicError, ShapeError
from patchmosaic.noise import CosineSchedule, EDMSchedule, FlowMatchingSchedule

POOL = ImageSet(images(n=4))
PREDICTIONS = ["eps", "x0", "v", "score"]
SCHEDULES = [CosineSchedule(), EDMSchedule(), FlowMatchingSchedule()]


class KnownNetwork(nn.Module):
    """The ideal denoiser as a module, answering in the given currency."""

    def __init__(self, prediction, schedule, clock=1.0, pool=POOL, dtype=torch.float64):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1, dtype=dtype))
        self.inside, self.prediction, self.clock = IdealDenoiser(pool, schedule=schedule), prediction, clock
        self.asked = []

    def forward(self, x_t, t, label=None):
        self.asked.append((x_t.dtype, t.dtype, t.clone(), label, self.training))
        t = t.double() / self.clock
        alpha, sigma = (scale.to(x_t)[:, None, None, None] for scale in self.inside.schedule(t))
        x0 = self.inside(x_t, t, label)
        eps = (x_t - alpha * x0) / sigma
        return {"x0": x0, "eps": eps, "v": alpha * eps - sigma * x0, "score": -eps / sigma}[self.prediction]


class Linear(nn.Module):
    """A real, tiny network, of no use."""

    def __init__(self, seed=0):
        super().__init__()
        self.layer = nn.Conv2d(2, 2, 3, padding=1)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(seed)))

    def forward(self, x_t, t, label=None):
        return self.layer(x_t) + t[:, None, None, None] + (0 if label is None else label[:, None, None, None])


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda schedule: type(schedule).__name__)
@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_all_predictions_mean_the_same_x0(prediction, schedule):
    t = torch.tensor([0.05, 0.3, 0.7, 0.95], dtype=torch.float64)
    x_t = noisy(POOL.images, schedule, t)
    denoiser = NetworkDenoiser(KnownNetwork(prediction, schedule), prediction, schedule=schedule)
    torch.testing.assert_close(denoiser(x_t, t), IdealDenoiser(POOL, schedule=schedule)(x_t, t), rtol=1e-7, atol=1e-7)
    for method in PREDICTIONS:
        if method != "x0":
            expected = getattr(IdealDenoiser(POOL, schedule=schedule), method)(x_t, t)
            torch.testing.assert_close(getattr(denoiser, method)(x_t, t), expected, rtol=1e-6, atol=1e-6)


def test_the_timestep_is_told_in_the_modules_own_clock():
    module = KnownNetwork("eps", CosineSchedule(), clock=999.0)
    denoiser = NetworkDenoiser(module, timestep=lambda t: 999 * t)
    x_t, t = noisy(POOL.images, CosineSchedule(), 0.25), torch.tensor([0.25, 0.25, 0.25, 0.25])
    torch.testing.assert_close(denoiser(x_t, t), IdealDenoiser(POOL)(x_t, t), rtol=1e-7, atol=1e-7)
    assert module.asked[-1][2].tolist() == [249.75] * 4


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_module_is_called_in_its_own_precision_and_answers_in_the_callers(dtype):
    module = KnownNetwork("x0", CosineSchedule(), dtype=dtype)
    denoiser = NetworkDenoiser(module, "x0")
    for asked in (torch.float32, torch.float64):
        assert denoiser(noisy(POOL.images, CosineSchedule(), 0.5, dtype=asked), 0.5).dtype == asked
        assert module.asked[-1][:2] == (dtype, dtype)


def test_the_module_is_in_evaluation_mode_and_its_answer_is_an_ordinary_tensor():
    denoiser = NetworkDenoiser(Linear().train())
    assert not denoiser.module.training
    x0_hat = denoiser(torch.zeros(1, 2, 6, 5), 0.5)
    assert not x0_hat.requires_grad
    assert not x0_hat.is_inference()  # else += would fail, and so would any gradient taken later
    x0_hat += 1


@pytest.mark.parametrize("prediction", ["x0", "v"])
def test_an_answer_never_shares_memory_with_the_network(prediction):
    class Remembers(nn.Module):
        def forward(self, x_t, t):
            self.output = x_t.clone()
            return self.output

    denoiser = NetworkDenoiser(Remembers(), prediction)
    x0_hat = denoiser(torch.ones(1, 2, 6, 5), 0.5)
    kept = x0_hat.clone()
    denoiser.module.output.zero_()
    assert torch.equal(x0_hat, kept)


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_where_alpha_is_zero_only_some_predictions_determine_x0(prediction):
    schedule = FlowMatchingSchedule()
    denoiser = NetworkDenoiser(Linear(), prediction, schedule=schedule)
    x_t = torch.randn(2, 2, 6, 5)
    if prediction in ("eps", "score"):
        with pytest.raises(NoiseLevelError, match=f"alpha_t = 0.*{prediction}"):
            denoiser(x_t, torch.tensor([0.5, 1.0]))
    else:
        output = Linear()(x_t, torch.ones(2)).detach()  # v = -x0 there
        torch.testing.assert_close(denoiser(x_t, 1.0), output if prediction == "x0" else -output)


def test_unknown_predictions_are_refused():
    unchecked = inspect.unwrap(NetworkDenoiser.__init__)  # without the annotations that only tests enforce
    with pytest.raises(PatchMosaicError, match=r"eps, x0, v, score.*'flow'"):
        unchecked(object.__new__(NetworkDenoiser), Linear(), "flow")


# Shapes.


def test_the_image_shape_is_given_or_the_first_seen():
    assert NetworkDenoiser(Linear(), image_shape=(2, 8, 8)).image_shape == (2, 8, 8)
    with pytest.raises(ShapeError, match="2x8x8"):
        NetworkDenoiser(Linear(), image_shape=(2, 8, 8))(torch.zeros(1, 2, 6, 5), 0.5)
    unknown = NetworkDenoiser(Linear())
    unknown(torch.zeros(1, 2, 6, 5), 0.5)
    assert unknown.image_shape == (2, 6, 5)
    with pytest.raises(ShapeError, match="2x6x5"):
        unknown(torch.zeros(1, 2, 7, 5), 0.5)


def test_a_network_must_return_images_of_its_inputs_shape():
    class WithAnotherChannel(nn.Module):
        def forward(self, x_t, t):
            return torch.zeros(len(x_t), 3, *x_t.shape[2:])

    with pytest.raises(ShapeError, match=r"input's shape, got \(1, 3, 6, 5\)"):
        NetworkDenoiser(WithAnotherChannel())(torch.zeros(1, 2, 6, 5), 0.5)


# Labels.


def test_labels_reach_the_module():
    pool = labelled()
    denoiser = NetworkDenoiser(KnownNetwork("eps", CosineSchedule(), pool=pool), classes=(3, 7))
    x_t, labels = noisy(pool.images[:3], CosineSchedule(), 0.5), torch.tensor([7, 3, 7])
    torch.testing.assert_close(denoiser(x_t, 0.5, labels), IdealDenoiser(pool)(x_t, 0.5, labels), rtol=1e-7, atol=1e-7)
    assert denoiser.module.asked[-1][3].tolist() == [7, 3, 7]


def test_classes_come_from_the_module_unless_given():
    module = Linear()
    assert NetworkDenoiser(module).classes == ()
    module.num_classes = 3
    assert NetworkDenoiser(module).classes == (0, 1, 2)
    assert NetworkDenoiser(module, classes=(5, 6)).classes == (5, 6)
    assert NetworkDenoiser(module, classes=()).classes == ()
    for nothing in (None, 0):
        module.num_classes = nothing
        assert NetworkDenoiser(module).classes == ()


def test_label_errors():
    x_t = torch.zeros(1, 2, 6, 5)
    with pytest.raises(LabelError, match="no classes"):
        NetworkDenoiser(Linear())(x_t, 0.5, 1)
    with pytest.raises(LabelError, match=r"class-conditional.*\[0, 1\]"):
        NetworkDenoiser(Linear(), classes=(0, 1))(x_t, 0.5)
    with pytest.raises(LabelError, match=r"got \[2\]"):
        NetworkDenoiser(Linear(), classes=(0, 1))(x_t, 0.5, 2)


# Descriptions name what is computed.


def test_equal_descriptions_mean_equal_outputs():
    def denoiser(seed=0, **options):
        return NetworkDenoiser(Linear(seed), **options)

    assert denoiser().describe() == denoiser().describe()
    json.dumps(denoiser(timestep=lambda t: 999 * t).describe(), allow_nan=False)
    different = [
        denoiser(),
        denoiser(1),
        denoiser(prediction="v"),
        denoiser(schedule=EDMSchedule()),
        denoiser(timestep=lambda t: 999 * t),
        denoiser(timestep=lambda t: 1000 * t),
    ]
    assert len({json.dumps(each.describe()) for each in different}) == len(different)


def test_moving_returns_the_denoiser():
    denoiser = NetworkDenoiser(Linear())
    assert denoiser.to("cpu") is denoiser
    assert denoiser.device == torch.device("cpu")
