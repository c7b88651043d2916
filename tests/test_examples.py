"""Every example runs, stays short, and says what it promises."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from patchmosaic.data import ImageSet
from patchmosaic.experiments.papers.recipe import read_recipes

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


def output(path, *arguments):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(path), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_are_short(path):
    assert len(path.read_text().splitlines()) < 60


def test_black_and_white_mosaic(tmp_path):
    text = output(ROOT / "examples" / "black_and_white_mosaic.py", str(tmp_path / "mosaic.png"))
    assert "black or white: 100.0%" in text
    assert "3x3 majority: 100.0%" in text
    assert "local 16 of 16, ideal 2 of 16" in text
    assert (tmp_path / "mosaic.png").exists()


def test_predict_without_a_network(tmp_path):
    text = output(ROOT / "examples" / "predict_without_a_network.py", str(tmp_path / "drawn.png"))
    # Drawings are new: a copy would be at distance 0.
    assert float(re.search(r"median: ([\d.]+)", text)[1]) > 0.1
    assert (tmp_path / "drawn.png").exists()


def test_your_own_network():
    text = output(ROOT / "examples" / "your_own_network.py", "150")
    assert re.search(r"^bbELS +0\.\d", text, re.MULTILINE)
    assert re.search(r"^patch sizes.*( [357]){20}$", text, re.MULTILINE)


def test_in_a_diffusers_pipeline(tmp_path):
    pytest.importorskip("diffusers", minversion="0.36", reason="needs pip install 'patchmosaic[diffusers]'")
    text = output(ROOT / "examples" / "in_a_diffusers_pipeline.py", str(tmp_path))
    assert float(re.search(r"difference from patchmosaic.sample: (\S+)", text)[1]) < 1e-4
    assert (tmp_path / "drawn.png").exists()


def test_the_readme_code_runs(tmp_path):
    readme = (ROOT / "README.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    assert blocks
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for block in blocks:
        subprocess.run([sys.executable, "-c", block], check=True, env=environment, capture_output=True, cwd=tmp_path)
    assert (tmp_path / "drawn.png").exists()


def test_why_is_this_pixel_white(tmp_path):
    text = output(ROOT / "examples" / "why_is_this_pixel_white.py", str(tmp_path))
    assert re.search(r"^Why is pixel \(\d, \d\) ", text)
    drawn, mean = map(float, re.search(r"drawn ([-\d.]+), mean of its \d+ likeliest sources ([-\d.]+)", text).groups())
    assert abs(drawn - mean) < 0.02
    assert (tmp_path / "pixel.png").exists()


def test_attention_recipe():
    """At 16 x 16 pixels there is still attention, at two levels."""
    recipes = read_recipes(str(ROOT / "examples" / "attention.toml"))
    (row,) = recipes.chosen("attention")
    assert recipes.rows[row.scales_from].network == "resnet"
    pool = ImageSet(torch.zeros(2, 3, row.image_size, row.image_size), torch.arange(2))
    assert row.module(pool).attention == (0, 1)
