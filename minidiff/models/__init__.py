"""The networks.

Each has a `config`, plain values from which `type(model)(**model.config)` is built again.
"""

from .adm import ADMUNet
from .lenet import LeNet, LeNet5
from .mean_flow import MeanFlowUNet
from .mlp import ConditionalMLP
from .resnet import ResNet
from .unet import UNet

__all__ = ["ADMUNet", "ConditionalMLP", "LeNet", "LeNet5", "MeanFlowUNet", "ResNet", "UNet"]
