"""The smallest rows: digits at 8 x 8, narrow networks that are hardly trained. Their numbers must be right all the same."""

from pathlib import Path

RECIPE = """
recipe = "cpu"
image_size = 8
limit = 60
seeds = 3
calibration_seeds = 2
steps = 3
network_steps = [3, 4]
snapshots = [4, 8]

[training]
steps = 12
batch_size = 8

[networks.resnet]
width = 16
depth = 1

[networks.attention-unet]
width = 8

[rows.zeros]
title = "MNIST ResNet"
data = "digits"
network = "resnet"

[rows.circular]
title = "MNIST ResNet circular"
data = "digits"
network = "resnet"
padding = "circular"
conditional = true

[rows.attention]
title = "CelebA UNet+SA"
data = "nowhere at all"
stand_in = "digits"
network = "attention-unet"
scales_from = "zeros"

[rows.absent]
title = "CelebA UNet"
data = "nowhere at all"
network = "unet"

[experiments]
receptive-fields = ["circular"]
steps-150 = ["zeros"]
attention = ["attention"]
early-training = ["zeros"]
memorising-transition = ["zeros"]
ceiling = ["zeros"]
improvements = ["zeros", "circular"]
"""


def written_recipe(folder: Path, text: str = RECIPE) -> str:
    """A recipe file of the scale "tiny"."""
    path = folder / "tiny.toml"
    path.write_text(text)
    return str(path)
