"""Unpooling of SegNet against torch's own."""

from __future__ import annotations

import torch

from models.segnet import pool, unpool


def test_unpool_is_torchs():
    features = torch.randn(2, 3, 6, 8)
    pooled, place = pool(features)
    expected, index = torch.nn.functional.max_pool2d(features, 2, return_indices=True)
    assert torch.equal(pooled, expected)
    assert torch.equal(unpool(pooled, place), torch.nn.functional.max_unpool2d(expected, index, 2))
