"""Recipes say what the papers say, and a wrong key says where it is."""

from pathlib import Path

import pytest
import torch
from paper_cases import RECIPE, written_recipe

from patchmosaic.data.imageset import ImageSet
from patchmosaic.errors import LabelError, PatchMosaicError
from patchmosaic.experiments.papers.published import SCALES, TABLE
from patchmosaic.experiments.papers.recipe import read_recipes
from patchmosaic.networks import RECIPES


def pool(channels: int, classes: int = 0) -> ImageSet:
    labels = torch.arange(10) % classes if classes else None
    return ImageSet(torch.zeros(10, channels, 32, 32), labels)


def test_both_scales_have_the_eleven_rows_of_the_published_table() -> None:
    for scale in ("cpu", "full"):
        rows = read_recipes(scale).rows
        assert sorted(row.title for row in rows.values()) == sorted(TABLE)
        assert {row.title for row in rows.values() if row.scales_from is None} == set(SCALES)
        assert {row.title for row in rows.values() if row.padding == "circular"} == {
            "MNIST ResNet circular",
            "CIFAR ResNet circular",
        }
        assert {row.data for row in rows.values() if row.conditional} == {"fashion_mnist", "cifar10"}
        assert {row.theory for row in rows.values() if row.padding == "circular"} == {"ELS"}
        assert {row.theory for row in rows.values() if row.padding == "zeros"} == {"bbELS"}


def test_the_full_networks_have_the_published_number_of_parameters() -> None:
    rows = read_recipes("full").rows
    for name, parameters in (("cifar-resnet", 4_021_251), ("cifar-unet", 2_032_326)):
        module = rows[name].module(pool(3, classes=10))
        assert sum(parameter.numel() for parameter in module.parameters()) == parameters
    # 300 epochs of 60,000 images in batches of 128.
    settings = rows["mnist-resnet"].settings(60_000)
    assert (settings.steps, settings.batch_size, settings.learning_rate) == (140_625, 128, 1e-4)
    assert (settings.lr_schedule, settings.objective) == ("exponential", "mse")


def test_the_cpu_scale_is_what_the_train_verb_does() -> None:
    row = read_recipes("cpu").rows["fashion-resnet"]
    assert row.settings(10_000) == RECIPES["cpu"](10_000)
    assert row.module(pool(1, classes=10)).config()["width"] == 64
    assert (row.limit, row.seeds, row.image_size) == (10_000, 20, 32)


def test_changes_are_of_every_row_and_none_changes_nothing(tmp_path: Path) -> None:
    scale = written_recipe(tmp_path)
    assert {row.seeds for row in read_recipes(scale, seeds=7).rows.values()} == {7}
    assert read_recipes(scale, seeds=None).rows == read_recipes(scale).rows
    assert read_recipes(scale).scale == "tiny"


def test_a_row_may_differ_in_anything(tmp_path: Path) -> None:
    text = RECIPE.replace('title = "CelebA UNet"', 'title = "CelebA UNet"\nseeds = 5\ntraining = {steps = 3}')
    row = read_recipes(written_recipe(tmp_path, text)).rows["absent"]
    assert row.seeds == 5
    assert row.settings(100).steps == 3
    assert row.settings(100, seed=2).seed == 2


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("seeds = 3", "seedz = 3", r"rows\.zeros of tiny has an unknown key, got seedz\. Known: .*seeds"),
        ("seeds = 3", "seeds = 3.5", r"key seeds must be int, got 3\.5"),
        ("seeds = 3", "seeds = true", r"key seeds must be int, got True"),
        ("seeds = 3", "seeds = 0", r"seeds must be positive, got 0"),
        ("network_steps = [3, 4]", "network_steps = 3", r"key network_steps must be tuple, got 3"),
        ("network_steps = [3, 4]", 'network_steps = ["3"]', r"key network_steps must be int, got '3'"),
        ('padding = "circular"', 'padding = "mirror"', r"key padding must be 'zeros' or 'circular', got 'mirror'"),
        ('title = "MNIST ResNet"\n', "", r"rows\.zeros of tiny lacks title"),
        ("batch_size = 8", "batch = 8", r"training of row zeros has an unknown key, got batch"),
        ("batch_size = 8", 'batch_size = "8"', r"key batch_size must be int"),
        ("width = 16", "widht = 16", r"network resnet of row zeros has an unknown key, got widht"),
        ('network = "resnet"', 'network = "resnot"', r"no such network, got 'resnot'"),
        ('recipe = "cpu"', 'recipe = "gpu"', r"no.*of this recipe, got 'gpu'"),
        ('scales_from = "zeros"', 'scales_from = "nil"', r"must take its scales from a row that has its own, got nil"),
        ('attention = ["attention"]', 'attention = ["nil"]', r"no such row, got nil"),
        ("limit = 60", "limit = ", r"not TOML"),
        ("limit = 60", 'machines = ["LS"]', r"lacks the machine that is the theory of its network"),
    ],
)
def test_a_bad_recipe_says_what_is_wrong(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in RECIPE
    with pytest.raises(PatchMosaicError, match=message):
        read_recipes(written_recipe(tmp_path, RECIPE.replace(old, new)))


def test_unknown_scales_and_rows_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PatchMosaicError, match=r"no such scale, got 'gpu'\. quick, cpu, full"):
        read_recipes("gpu")
    with pytest.raises(PatchMosaicError, match="no such row, got mnist"):
        read_recipes("cpu").chosen("table1", ["mnist"])


def test_a_conditional_row_needs_labels() -> None:
    with pytest.raises(LabelError, match="fashion-resnet is conditional"):
        read_recipes("cpu").rows["fashion-resnet"].module(pool(1))
