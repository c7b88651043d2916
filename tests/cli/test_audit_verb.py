"""`patchmosaic audit` as a user runs it, on digits: copies that were put among the images are found."""

import csv
import json

import numpy as np
import pytest
import torch
from command_line import runner
from PIL import Image
from safetensors.torch import save_file

from patchmosaic.data import load
from patchmosaic.errors import DataError, ShapeError

SMALL = ("--data", "digits", "--limit", 200, "--patch-size", 3, "--patches-of", 3)


run = runner("audit")


@pytest.fixture(scope="module")
def drawn():
    """Two copies of training image 7, moved by a pixel, among images that are not in the pool."""
    digits = load("digits", None).images
    return torch.cat([digits[1700:1704], digits[[7, 7]].roll(1, 3)])


def test_samples_in_safetensors_with_moved_copies(drawn, tmp_path):
    save_file({"images": drawn}, tmp_path / "mine.safetensors")
    command = (tmp_path / "mine.safetensors", *SMALL, "--shift", 1, "--out", tmp_path / "out", "--json")
    result = run(*command)
    record = json.loads(result.stdout)
    assert record == json.loads((tmp_path / "out" / "results.json").read_text())
    found = record["sets"]["mine"]
    assert found["memorisation"]["sources"] == [{"training_image": 7, "copies": 2}]
    assert found["memorisation"]["held_out"]["images"] == 40
    assert found["novelty"]["patch_sizes"] == [3]
    assert len(found["novelty"]["images"]["whole"]) == len(found["novelty"]["held_out"]["whole"]) == 3
    assert "2 of 6 images are copies, of training image 7 (2 times)." in " ".join(result.stderr.split())
    with (tmp_path / "out" / "mine.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["copy"] for row in rows] == ["False"] * 4 + ["True"] * 2
    assert [(row["nearest"], row["shift_right"]) for row in rows[4:]] == [("7", "1")] * 2
    for name in ("nearest-mine", "novelty"):
        with Image.open(tmp_path / "out" / f"{name}.png") as picture:
            assert min(picture.size) > 200
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "patches").rglob("seed-*")}
    assert len(kept) == 6
    assert json.loads(run(*command).stdout) == record
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


def test_a_folder_of_pictures_and_an_archive(drawn, tmp_path):
    pixels = ((drawn[:, 0] + 1) * 127.5).round().to(torch.uint8).numpy()
    (tmp_path / "pictures").mkdir()
    for i, picture in enumerate(pixels):
        Image.fromarray(picture).save(tmp_path / "pictures" / f"{i}.png")
    np.savez(tmp_path / "archive.npz", images=pixels[..., None])
    for source in ("pictures", "archive.npz"):
        arguments = (tmp_path / source, *SMALL[:4], "--patches-of", 0, "--shift", 1, "--out", tmp_path / source / "o", "--json")
        if source.endswith("npz"):
            arguments = (*arguments[:-2], tmp_path / "o", "--json")
        record = json.loads(run(*arguments).stdout)
        (found,) = record["sets"].values()
        assert found["memorisation"]["copies"] == 2
        assert "novelty" not in found


def test_errors_name_the_way_out(drawn, tmp_path):
    save_file({"weights": drawn}, tmp_path / "network.safetensors")
    save_file({"images": drawn.repeat(1, 3, 1, 1)}, tmp_path / "colour.safetensors")
    (tmp_path / "damaged.safetensors").write_bytes(b"nothing")
    with pytest.raises(DataError, match="Give --data"):
        run(tmp_path / "colour.safetensors")
    with pytest.raises(DataError, match="A tensor `images`"):
        run(tmp_path / "network.safetensors", *SMALL)
    with pytest.raises(DataError, match="cannot be read as safetensors"):
        run(tmp_path / "damaged.safetensors", *SMALL)
    with pytest.raises(ShapeError, match="Channels must be the same"):
        run(tmp_path / "colour.safetensors", *SMALL)
    with pytest.raises(DataError, match="no such file or folder"):
        run(tmp_path / "nowhere", *SMALL)
