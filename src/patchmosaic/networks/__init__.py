"""Trainable denoising networks of known receptive field: architectures, training, checkpoints."""

from patchmosaic.networks.base import Network, Padding
from patchmosaic.networks.checkpoint import NetworkRecord, load_network, save_network
from patchmosaic.networks.embedding import time_embedding
from patchmosaic.networks.mlp import MLP
from patchmosaic.networks.presets import PRESETS, preset_network
from patchmosaic.networks.resnet import ResNet
from patchmosaic.networks.settings import RECIPES, TrainingSettings, steps_of_epochs
from patchmosaic.networks.snapshots import log_spaced_steps, save_trained, snapshots_in
from patchmosaic.networks.training import TrainingResult, train
from patchmosaic.networks.unet import UNet

__all__ = [
    "MLP",
    "PRESETS",
    "RECIPES",
    "Network",
    "NetworkRecord",
    "Padding",
    "ResNet",
    "TrainingResult",
    "TrainingSettings",
    "UNet",
    "load_network",
    "log_spaced_steps",
    "preset_network",
    "save_network",
    "save_trained",
    "snapshots_in",
    "steps_of_epochs",
    "time_embedding",
    "train",
]
