"""Matrix products keep float32 whatever the process allows. That the answers are right is judged in `test_precision`."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from patchmosaic.engine import whole
from patchmosaic.engine.memory import DEFAULT_BUDGET
from patchmosaic.engine.whole import whole_image_posterior


def allowed():
    """What products of float32 may be rounded to, on a GPU and on a CPU."""
    if not hasattr(torch.backends.cuda.matmul, "fp32_precision"):
        return [torch.get_float32_matmul_precision()]
    return [torch.backends.cuda.matmul.fp32_precision, torch.backends.mkldnn.matmul.fp32_precision]


class Products(TorchDispatchMode):
    """Notes what is allowed whenever two matrices are multiplied."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function.overloadpacket is torch.ops.aten.mm:
            self.seen += allowed()
        return function(*args, **(kwargs or {}))


def lower_everything():
    torch.backends.fp32_precision = "tf32"


def lower_gpu_products():
    torch.backends.cuda.matmul.fp32_precision = "tf32"


def lower_cpu_products():
    torch.backends.mkldnn.matmul.fp32_precision = "bf16"


def lower_products():
    torch.set_float32_matmul_precision("medium")


@pytest.fixture
def precision_restored():
    yield
    torch.set_float32_matmul_precision("highest")
    if hasattr(torch.backends.cuda.matmul, "fp32_precision"):
        for setting in (torch.backends, torch.backends.cuda.matmul, torch.backends.mkldnn.matmul):
            setting.fp32_precision = "none"


@pytest.mark.usefixtures("precision_restored")
@pytest.mark.parametrize("lower", [lower_everything, lower_gpu_products, lower_cpu_products, lower_products])
def test_products_are_float32_and_the_process_is_left_as_it_was(lower):
    if lower is not lower_products and not hasattr(torch.backends.cuda.matmul, "fp32_precision"):
        pytest.skip("torch before 2.9 has one setting")
    before = allowed()
    lower()
    lowered = allowed()
    assert lowered != before
    images = torch.linspace(-1, 1, 5 * 12).view(5, 3, 2, 2)
    with Products() as products:
        whole_image_posterior(
            images[:2].double(), torch.ones(2, dtype=torch.float64), images, None, torch.float32, DEFAULT_BUDGET
        )
    assert products.seen
    assert set(products.seen) <= {"ieee", "none", "highest"}
    assert allowed() == lowered


@pytest.mark.usefixtures("precision_restored")
def test_what_products_inherit_they_still_inherit():
    if not hasattr(torch.backends.cuda.matmul, "fp32_precision"):
        pytest.skip("torch before 2.9 has one setting")
    lower_everything()
    images = torch.zeros(1, 1, 1, 1)
    whole_image_posterior(images.double(), torch.ones(1, dtype=torch.float64), images, None, torch.float32, DEFAULT_BUDGET)
    torch.backends.fp32_precision = "ieee"
    assert set(allowed()) == {"ieee"}


@pytest.mark.usefixtures("precision_restored")
def test_torch_before_2_9_has_one_setting(monkeypatch):
    monkeypatch.setattr(whole, "hasattr", lambda *_: False, raising=False)
    lower_products()
    lowered = allowed()
    images = torch.linspace(-1, 1, 12).view(1, 3, 2, 2)
    with Products() as products:
        whole_image_posterior(images.double(), torch.ones(1, dtype=torch.float64), images, None, torch.float32, DEFAULT_BUDGET)
    assert products.seen
    assert set(products.seen) <= {"ieee", "none", "highest"}
    assert allowed() == lowered
