"""Pretrained weights: where they are, how they are read, and where they go."""
