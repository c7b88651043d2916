import json

import numpy as np
import pytest
import torch

from patchmosaic.app.messages import line, packed, picture, unpacked


@pytest.mark.parametrize(("kind", "dtype"), [("u1", torch.uint8), ("i4", torch.int64), ("f4", torch.float32)])
def test_arrays_survive_packing(kind, dtype):
    array = (torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0)) * 50).abs().to(dtype)
    assert torch.equal(torch.from_numpy(unpacked(packed(array, kind)).copy()).to(dtype), array)


def test_a_view_is_packed_as_it_looks():
    array = torch.arange(12).view(3, 4).T
    assert unpacked(packed(array, "i4")).tolist() == array.tolist()


@pytest.mark.parametrize(("channels", "shape"), [(1, [2, 3]), (3, [2, 3, 3])])
def test_a_picture_is_8_bit(channels, shape):
    image = torch.linspace(-1.5, 1.5, 6).view(1, 2, 3).expand(channels, 2, 3)
    record = picture(image)
    assert record["shape"] == shape
    values = unpacked(record).reshape(2, 3, -1)[..., 0]
    assert values.ravel().tolist() == np.rint((np.linspace(-1.5, 1.5, 6).clip(-1, 1) + 1) * 127.5).tolist()


def test_a_message_is_one_line_of_json():
    text = line({"error": "two\nlines"})
    assert text.count(b"\n") == 1
    assert json.loads(text) == {"error": "two\nlines"}
    with pytest.raises(ValueError):
        line({"r": float("nan")})
