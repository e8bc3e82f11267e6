"""Shared by the tests of models."""

from __future__ import annotations

import pytest
import torch
import torchvision


@pytest.fixture(scope="session")
def resnet18(tmp_path_factory):
    """Network of torchvision with random weights, and the path of a file with them."""
    torch.manual_seed(0)
    net = torchvision.models.resnet18(weights=None).eval()
    path = tmp_path_factory.mktemp("weights") / "resnet18.pth"
    torch.save(net.state_dict(), path)
    return net, str(path)
