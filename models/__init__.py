"""The catalogue of architectures: one import line per name that a config may use."""

from models.unet import UNet

__all__ = ["UNet"]
