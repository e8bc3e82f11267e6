"""Rooms shared by training, evaluation and inference; imports only torch, numpy and the standard library."""

__version__ = "0.1.0"
