"""Trainable denoising networks of known receptive field: architectures, training, checkpoints."""

from patchmosaic.networks.base import Network, Padding
from patchmosaic.networks.checkpoint import NetworkRecord, load_network, save_network
from patchmosaic.networks.embedding import time_embedding
from patchmosaic.networks.mlp import MLP
from patchmosaic.networks.resnet import ResNet
from patchmosaic.networks.training import TrainingResult, TrainingSettings, train
from patchmosaic.networks.unet import UNet

__all__ = [
    "MLP",
    "Network",
    "NetworkRecord",
    "Padding",
    "ResNet",
    "TrainingResult",
    "TrainingSettings",
    "UNet",
    "load_network",
    "save_network",
    "time_embedding",
    "train",
]
