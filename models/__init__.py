"""The catalogue of architectures: one import line per name that a config may use."""

from models.fcn import FCN8s, FCN16s, FCN32s
from models.unet import UNet

FCN8 = FCN8s  # the template family's name

__all__ = ["FCN8", "FCN16s", "FCN32s", "FCN8s", "UNet"]
