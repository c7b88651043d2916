"""SeedStore: a result is there whole, or it is missing; and never somebody else's."""

import json
import os

import pytest
import torch

from patchmosaic.errors import CheckpointError
from patchmosaic.store import SeedStore

KEYS = [(0, None), (3, None), (3, 0), (3, 1), (1234567, 9)]


def result(i):
    return torch.full((2, 3), float(i))


@pytest.fixture(params=["memory", "disk"])
def store(request, tmp_path):
    return SeedStore(tmp_path if request.param == "disk" else None, "samples", {"a": 1})


def test_what_is_put_is_got_in_the_order_asked(store):
    assert store.missing(KEYS) == KEYS
    for i, key in enumerate(KEYS):
        store.put(key, result(i))
        assert store.missing(KEYS) == KEYS[i + 1 :]
    assert torch.equal(store.get(KEYS[::-1]), torch.stack([result(i) for i in range(len(KEYS))][::-1]))
    assert torch.equal(store.get([KEYS[2], KEYS[2]]), torch.stack([result(2), result(2)]))


def test_putting_again_replaces(store):
    store.put((0, None), result(1))
    store.put((0, None), result(2))
    assert torch.equal(store.get([(0, None)])[0], result(2))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64])
def test_numbers_are_kept_exactly(store, dtype):
    tensor = (torch.randn(4, 3, generator=torch.Generator().manual_seed(0)) * 100).to(dtype)
    store.put((0, None), tensor.T)  # not contiguous
    kept = store.get([(0, None)])[0]
    assert kept.dtype == dtype
    assert torch.equal(kept, tensor.T)


def test_another_process_finds_the_results(tmp_path):
    SeedStore(tmp_path, "samples", {"a": 1, "b": [2]}).put((5, 2), result(7))
    again = SeedStore(tmp_path, "samples", {"b": [2], "a": 1})
    assert again.missing([(5, 2), (5, None), (6, 2)]) == [(5, None), (6, 2)]
    assert torch.equal(again.get([(5, 2)])[0], result(7))


def test_another_description_or_name_is_another_store(tmp_path):
    SeedStore(tmp_path, "samples", {"a": 1}).put((0, None), result(1))
    for name, description in [("samples", {"a": 2}), ("samples", {"a": 1, "b": 1}), ("others", {"a": 1})]:
        assert SeedStore(tmp_path, name, description).missing([(0, None)]) == [(0, None)]
    assert len(os.listdir(tmp_path)) == 4


def test_the_folder_says_what_it_holds(tmp_path):
    SeedStore(tmp_path, "samples", {"steps": 20, "scale": [3, 5]})
    (folder,) = tmp_path.iterdir()
    assert folder.name.startswith("samples-")
    assert json.loads((folder / "description.json").read_text()) == {"steps": 20, "scale": [3, 5]}


@pytest.mark.parametrize("damage", ["cut", "empty", "other"])
def test_a_damaged_file_is_named_and_can_be_made_again(tmp_path, damage):
    store = SeedStore(tmp_path, "samples", {})
    store.put((3, 1), result(1))
    (path,) = tmp_path.glob("*/seed-*")
    whole = path.read_bytes()
    path.write_bytes({"cut": whole[:-5], "empty": b"", "other": b"not a tensor at all"}[damage])
    with pytest.raises(CheckpointError, match=rf"damaged.*{path.name}.*Delete the file"):
        store.get([(3, 1)])
    path.unlink()
    assert store.missing([(3, 1)]) == [(3, 1)]
    store.put((3, 1), result(2))
    assert torch.equal(store.get([(3, 1)])[0], result(2))


def test_half_a_file_is_never_taken_for_a_result(tmp_path, monkeypatch):
    store = SeedStore(tmp_path, "samples", {})

    def killed(tensors, path):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("patchmosaic.store.save_file", killed)
        with pytest.raises(KeyboardInterrupt):
            store.put((0, None), result(1))
    assert store.missing([(0, None)]) == [(0, None)]
    # A kill that leaves no time to clean up leaves the temporary file; it counts for nothing.
    folder = next(tmp_path.iterdir())
    (folder / ".seed-000000.safetensors.abc.safetensors").write_bytes(b"half")
    assert store.missing([(0, None)]) == [(0, None)]
    store.put((0, None), result(3))
    assert torch.equal(store.get([(0, None)])[0], result(3))
